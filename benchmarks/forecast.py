"""Forecasts on zones and years they were not developed on, next to yesterday's value, last week's, and published ones.

Carbon (lifecycle, consumption-based, Electricity Maps; 14 zones): fitted on 2021 and 2022, then issued every day at
00:00 UTC of 2023 and 2024 for the 24 h, and the 168 h, that follow; the model is not fitted again, its intervals take
in what came. Prices (wholesale, 6 zones): fitted on 2020 to 2022, tested on 2023 and 2024. The method was developed on
carbon and price of DE and US-CAL-CISO in 2021 and 2022 (fitted on the first, tested on the second of the two) and on
made prices with rare spells. Every other zone, and every year after, was looked at four times: when the method first
stood; when yesterday's and last week's value had got their shares, which the first look had shown to be wanting; and
twice when intervals had come to follow their misses, by a rate chosen on the zones of development (docs/forecast.md).

Published forecasts stand beside ours on the same hours:

- Maji et al., DACF, e-Energy 2022 (github.com/carbonfirst/DACF): day-ahead, direct intensity, second half of 2021. They
  know the weather forecast and years of generation by fuel; ours gets three months of the intensity itself and is
  tested on the other three.
- Maji et al., CarbonCast, BuildSys 2022, as used by github.com/umassos/roro-experiments: CISO 2020 to 2022.

No goal is set against them: they know more. MAPE is the mean of |error| / outcome over all hours, 24 h ahead.

    python benchmarks/forecast.py [--json]
"""

from __future__ import annotations

import csv
import gzip
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from outweigh.core.intervals import Interval
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import (
    Accounting,
    CarbonKind,
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Market,
    Origin,
    PriceMeaning,
    PriceSeries,
    Slot,
)
from outweigh.grid.forecasting import Skill, backtest, fit
from shape import Row, finish

ROOT = Path(os.environ.get("OUTWEIGH_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")) / "grid"
HOUR = timedelta(hours=1)
COVERAGE, COVERAGE_POINTS = 90.0, 3.0
DEVELOPED_ON = {"DE", "US-CAL-CISO"}
CLOCKS = {
    "DE": "Europe/Berlin",
    "FR": "Europe/Paris",
    "GB": "Europe/London",
    "NO": "Europe/Oslo",
    "SE": "Europe/Stockholm",
    "BR-CS": "America/Sao_Paulo",
    "CA-ON": "America/Toronto",
    "CL-SEN": "America/Santiago",
    "IN-WE": "Asia/Kolkata",
    "JP-TK": "Asia/Tokyo",
    "KR": "Asia/Seoul",
    "SG": "Asia/Singapore",
    "AU-NSW": "Australia/Sydney",
    "US-CAL-CISO": "America/Los_Angeles",
    "US-MIDA-PJM": "America/New_York",
    "US-TEX-ERCO": "America/Chicago",
    "CISO": "America/Los_Angeles",
    "ERCO": "America/Chicago",
    "PJM": "America/New_York",
}
LIFECYCLE = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.CONSUMPTION)
DIRECT = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.DIRECT, Accounting.PRODUCTION)


def start_of(year: int, month: int = 1) -> datetime:
    return datetime(year, month, 1, tzinfo=UTC)


def rows(path: Path, column: str) -> Iterator[tuple[datetime, float | None]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            yield datetime.fromisoformat(row["utc"]), float(row[column]) if row[column] else None


def carbon(path: Path, column: str, meaning: CarbonMeaning, window: Interval) -> CarbonSeries:
    slots = [Slot(at, at + HOUR, value, DataQuality.MEASURED) for at, value in rows(path, column)]
    return CarbonSeries.of(slots, window, meaning, Origin("reference", path.stem, path.name, "see PROVENANCE.md"))


def prices(path: Path, window: Interval) -> PriceSeries:
    slots = [
        Slot(at, at + HOUR, None if value is None else PriceSeries.per_mwh(value), DataQuality.MEASURED)
        for at, value in rows(path, "price")
    ]
    # In the currency of the file; what market it is does not matter to an error.
    meaning = PriceMeaning("EUR", Market.DAY_AHEAD, taxes=False)
    return PriceSeries.of(slots, window, meaning, Origin("reference", path.stem, path.name, "see PROVENANCE.md"))


def tested(
    history: CarbonSeries | PriceSeries, since: datetime, clocks: tzinfo, reaches: tuple[int, ...]
) -> tuple[dict[int, Skill], float]:
    """Fitted before `since`, tested from there to the end; the seconds that fitting took."""
    began = time.perf_counter()
    model = fit(history.window(Interval(history.interval.start, since)), clocks=clocks, reach_h=max(reaches))
    took = time.perf_counter() - began
    model = model.knowing(history)
    return {reach: backtest(model, Interval(since, history.interval.end), hours=reach) for reach in reaches}, took


def covered(case: str, skill: Skill, judged: bool) -> Row:
    value = 100 * skill.coverage
    holds = abs(value - COVERAGE) <= COVERAGE_POINTS
    note = f"{skill.hours} h"
    if not judged:
        return Row(case, value, "%", COVERAGE, None, None, note)
    return Row(case, value, "%", COVERAGE, f"+-{COVERAGE_POINTS:g}", holds, note)


def better(case: str, skill: Skill, note: str = "", judged: bool = True) -> Row:
    said = "" if skill.better else f"p = {skill.p_no_better:.2f}; "
    if skill.model.mape_percent is not None:
        pairs = skill.model.mape_percent, skill.persistence.mape_percent, skill.last_week.mape_percent, "% MAPE"
    else:
        pairs = 1e3 * skill.model.mae, 1e3 * skill.persistence.mae, 1e3 * skill.last_week.mae, "per MWh, MAE"
    value, yesterday, week, unit = pairs
    assert yesterday is not None
    assert week is not None
    told = f"{said}{1 - value / yesterday:.0%} below yesterday's, last week's {week:.4g}{note}"
    return Row(case, value, unit, yesterday, "< ref" if judged else None, value < yesterday if judged else None, told)


def zones() -> Iterator[Row]:
    for path in sorted((ROOT / "carbon").glob("*.csv.gz")):
        zone = path.name.removesuffix(".csv.gz")
        end = start_of(2024 if zone == "NO" else 2025)
        history = carbon(path, "ci_lca", LIFECYCLE, Interval(start_of(2021), end))
        skills, took = tested(history, start_of(2023), ZoneInfo(CLOCKS[zone]), (24, 168))
        seen = ", developed on its 2021-2022" if zone in DEVELOPED_ON else ""
        yield better(f"carbon {zone}, 24 h ahead", skills[24], f"; fitted in {took:.0f} s{seen}")
        yield covered(f"carbon {zone}, 24 h ahead, in the 90 % interval", skills[24], judged=True)
        yield better(f"carbon {zone}, 168 h ahead", skills[168], judged=False)
        yield covered(f"carbon {zone}, 168 h ahead, in the 90 % interval", skills[168], judged=False)


def markets() -> Iterator[Row]:
    for path in sorted((ROOT / "price").glob("*.csv.gz")):
        zone = path.name.removesuffix(".csv.gz")
        history = prices(path, Interval(start_of(2020), start_of(2025)))
        skills, took = tested(history, start_of(2023), ZoneInfo(CLOCKS[zone]), (24,))
        seen = ", developed on its 2021-2022" if zone in DEVELOPED_ON else ""
        yield better(f"price {zone}, 24 h ahead", skills[24], f"; fitted in {took:.0f} s{seen}")
        yield covered(f"price {zone}, 24 h ahead, in the 90 % interval", skills[24], judged=True)


def published() -> Iterator[Row]:
    cases = [
        (path, path.name.partition("_")[0], "DACF", Interval(start_of(2021, 7), start_of(2022)), start_of(2021, 10))
        for path in sorted((ROOT / "forecast").glob("*_2021H2.csv.gz"))
    ]
    carboncast = ROOT / "forecast" / "CISO_2020-2022_carboncast.csv.gz"
    cases.append((carboncast, "CISO", "CarbonCast", Interval(start_of(2020), start_of(2023)), start_of(2022)))
    for path, zone, who, window, since in cases:
        history = carbon(path, "actual", DIRECT, window)
        skill = tested(history, since, ZoneInfo(CLOCKS[zone]), (24,))[0][24]
        actual, said = dict(rows(path, "actual")), dict(rows(path, "forecast_dayahead"))
        off = [
            abs(said[at] - came) / came
            for at, came in actual.items()
            if at >= since and came is not None and said.get(at) is not None
        ]
        theirs = 100 * sum(off) / len(off)
        case = f"carbon {zone} {since:%Y-%m} on, direct, 24 h ahead"
        yield better(case, skill, f"; {who} on these hours {theirs:.4g} %")
        yield covered(f"{case}, in the 90 % interval", skill, judged=True)


def main() -> int:
    if not ROOT.is_dir():
        return finish("forecast", [Row("forecast", None, "", note="no reference data: set OUTWEIGH_SHARED_DATA")])
    found: list[Row] = []
    for part in (zones, markets, published):
        found.extend(part())
    return finish("forecast", found)


if __name__ == "__main__":
    raise SystemExit(main())

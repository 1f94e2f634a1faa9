"""The tariff engine against bills that utilities printed, against NREL's PySAM, and against the clock.

    python benchmarks/tariff.py [--json] [--pysam PYTHON]

Worked bills are copied from the pages named beside them and hold to the cent. PySAM (the calculator of NREL's System
Advisor Model) bills 50 random loads of a year under two tariffs in the same run; it lives in an environment of its
own: the one of `--pysam PYTHON`, or one made in a temporary folder for this run.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np

from outweigh.config.tariffs import loads_tariff
from outweigh.whatif.tariff import Kind, Load, Tariff, bill
from outweigh.whatif.tariff.clocks import calendar
from outweigh.whatif.tariff.terms import (
    WEEKDAYS,
    WEEKENDS,
    DemandCharge,
    EnergyRate,
    Fixed,
    Ratchet,
    Rounding,
    Tier,
    TierVolume,
    Window,
)
from shape import Row, finish

SEYMOUR = "https://cityofseymour.org/departments/utilities/residential-electricity/bill-comparison/"
GOODLAND = "https://cityofgoodland.org/2015/10/city-bill-explanation/"
GOODLAND_RATES = "https://goodlandks.gov/about-goodland/online-bill-pay/utility-rates/"
LAURENS = "https://laurenselectric.com/commercial-services/understanding-demand/"
AMEREN = "https://ameren.com/missouri/company/rate-options/faqs"
TAIPOWER = "https://www.taipower.com.tw/en/page.aspx?mid=4500"
TNB = "https://www.mytnb.com.my/business/understand-your-bill/billing-component"
PNNL = "https://feds.pnnl.gov/faq/what-demand-ratchet"
# A municipal utility's rate; the bill is worked in the open by the tests of REopt, a calculator of NREL (a laboratory
# of the U.S. Department of Energy): 100 kW in an hour of January and 1 kW else is
# 100 x (10.5 + 0.35 x 10.5 x 5 + 0.35 x 11.5 x 6) USD of demand in the year.
NREL = "NREL, REopt API, test_demand_ratchet_rate, on Wallingford's Primary Service (OpenEI 539f6a23ec4f024411ec8bf9)"

GOAL_MS = 20.0
LOADS = 50
# Jan 1 of PySAM's year is a Monday, and the year has no 29 February.
YEAR = datetime(2018, 1, 1, tzinfo=UTC)
# The two round in binary floats and in decimals: a hundredth of a cent a year is all that may lie between them.
PYSAM_GOAL = 1e-4


def text(currency: str, *tables: str) -> Tariff:
    return loads_tariff(f'name = "printed"\ncurrency = "{currency}"\ntimezone = "UTC"\n' + "\n".join(tables))


def energy(price: str) -> str:
    return f'[[energy]]\nprice = "{price}"'


def month(kwh: str, kw: str = "0", number: int = 1) -> Load:
    """A month that draws so much, in hours at the given power and a rest."""
    start = datetime(2026, number, 1, tzinfo=UTC)
    hours = int((datetime(2026, number + 1, 1, tzinfo=UTC) - start) / timedelta(hours=1))
    left, each = int(Decimal(kwh) * 10**6), int(Decimal(kw) * 10**6)
    steps = np.zeros(hours, dtype=np.int64)
    if not each:
        share, rest = divmod(left, hours)
        steps[:] = share
        steps[0] += rest
    else:
        full, rest = divmod(left, each)
        steps[:full] = each
        steps[full] = rest
    return Load(start, 3600, steps)


def printed() -> list[Row]:
    seymour = 'share = "1%"'
    tiers = (
        '[[energy]]\ntiers = [{ up_to = "250 kWh", price = "0.064 USD/kWh" }, '
        '{ up_to = "700 kWh", price = "0.049 USD/kWh" }, %s{ price = "0.0446 USD/kWh" }]'
    )
    rest = (
        '[[fixed]]\nname = "base"\namount = "7.50 USD"',
        '[[rider]]\nname = "power cost"\nprice = "0.085 USD/kWh"',
        f'[[tax]]\nname = "city sales tax"\n{seymour}',
    )
    summer = '{ up_to = "1250 kWh", price = "0.0475 USD/kWh" }, '
    winter, warm = text("USD", tiers % "", *rest), text("USD", tiers % summer, *rest)
    laurens = text("USD", energy("0.05 USD/kWh"), '[[demand]]\nname = "d"\nprice = "3.00 USD/kW"')
    seasons = text(
        "USD",
        energy("0 USD/kWh"),
        '[[demand]]\nname = "w"\nprice = "3.37 USD/kW"\nwindow = "60 min"\n'
        'months = ["jan","feb","mar","apr","may","oct","nov","dec"]',
        '[[demand]]\nname = "s"\nprice = "8.16 USD/kW"\nwindow = "60 min"\nmonths = ["jun","jul","aug","sep"]',
    )
    cases: list[tuple[str, Tariff, Load, str, str]] = [
        ("tiers, rider, tax: Seymour winter, 1,200 kWh", winter, month("1200"), "171.55", SEYMOUR),
        ("tiers, rider, tax: Seymour summer, 2,000 kWh", warm, month("2000"), "277.88", SEYMOUR),
        (
            "fixed and energy: Goodland bill A, 1,036 kWh",
            text("USD", energy("0.127 USD/kWh"), '[[fixed]]\namount = "15 USD"'),
            month("1036"),
            "146.57",
            GOODLAND,
        ),
        (
            "demand, fixed, energy: Goodland large commercial, printed lines 105.00 + 95.00",
            text(
                "USD",
                energy("0.09 USD/kWh"),
                '[[fixed]]\namount = "15 USD"',
                '[[demand]]\nname = "d"\nprice = "9.50 USD/kW"',
            ),
            month("1000", "10"),
            "200.00",
            GOODLAND_RATES,
        ),
        ("demand: Laurens bill 1, 20 kW and 20 kWh", laurens, month("20", "20"), "61.00", LAURENS),
        ("demand: Laurens bill 2, 2 kW and 20 kWh", laurens, month("20", "2"), "7.00", LAURENS),
        ("seasonal demand: Ameren November, 5 kW", seasons, month("5", "5", 11), "16.85", AMEREN),
        ("seasonal demand: Ameren summer, 5 kW", seasons, month("5", "5", 7), "40.80", AMEREN),
        (
            "tiers: TNB customer A, 350 kWh, printed lines 87.00 + 76.35",
            text(
                "MYR",
                '[[energy]]\ntiers = [{ up_to = "200 kWh", price = "0.4350 MYR/kWh" }, { price = "0.5090 MYR/kWh" }]',
            ),
            month("350"),
            "163.35",
            TNB,
        ),
        (
            "minimum take: Taipower, 20 kWh due and none drawn",
            text(
                "TWD",
                energy("1.63 TWD/kWh"),
                '[minimum_take]\nenergy = "20 kWh"\nper = "month"\nprice = "1.63 TWD/kWh"',
            ),
            month("0"),
            "32.60",
            TAIPOWER,
        ),
    ]  # fmt: skip
    rows = []
    for case, tariff, load, total, source in cases:
        found = bill(tariff, load).total
        rows.append(Row(case, float(found), tariff.currency, float(total), f"{total}", found == Decimal(total), source))
    return rows


def ratchets() -> list[Row]:
    """Billed demand of a low month after a peak. No worked bill in money was found that a utility printed."""
    rows = []
    for case, peak, low, due, source in (
        ("ratchet: PNNL (U.S. DOE), 1,000 kW peak at 80 %", "1000", "400", "800", PNNL),
    ):
        tariff = text(
            "USD",
            energy("0 USD/kWh"),
            '[[demand]]\nname = "d"\nprice = "1 USD/kW"\nratchet = { share = "80%", months = 11 }',
        )
        start = datetime(2026, 1, 1, tzinfo=UTC)
        kw = [*[float(peak)] * (31 * 24), *[float(low)] * (28 * 24)]
        made = bill(tariff, Load.from_kw(start, 3600, kw))
        found = made.demands[1].billed_kw
        rows.append(Row(case, float(found), "kW", float(due), f"{due}", found == Decimal(due), source))
    wallingford = text(
        "USD",
        energy("0 USD/kWh"),
        *(
            f'[[demand]]\nname = "{name}"\nprice = "{price} USD/kW"\nwindow = "60 min"\nmonths = {months}\n'
            'ratchet = { share = "35%", months = 11 }'
            for name, price, months in (
                ("cold", "10.5", '["jan", "feb", "mar", "apr", "nov", "dec"]'),
                ("warm", "11.5", '["may", "jun", "jul", "aug", "sep", "oct"]'),
            )
        ),
    )
    kw = np.ones(8760)
    kw[8] = 100.0
    found = bill(wallingford, Load.from_kw(YEAR, 3600, kw)).total
    due = Decimal("5302.50")
    rows.append(
        Row(
            "ratchet in money: Wallingford, a year worked by NREL",
            float(found),
            "USD",
            float(due),
            f"{due}",
            found == due,
            NREL,
        )
    )
    rows.append(
        Row(
            "ratchet: a bill that a utility or regulator itself printed in money",
            None,
            "",
            note="none was found in the stored pages that could be searched; none is invented",
        )
    )
    return rows


def tiers(*pairs: tuple[int | None, str]) -> tuple[Tier, ...]:
    return tuple(Tier(None if top is None else Decimal(top), Decimal(price)) for top, price in pairs)


DAY = (Window(8 * 60, 20 * 60, WEEKDAYS),)
NIGHT = (Window(0, 8 * 60, WEEKDAYS), Window(20 * 60, 24 * 60, WEEKDAYS))
WEEKEND = (Window(days=WEEKENDS),)
STEPS = {
    "day": (("0.171", "0.132", "0.094"), DAY),
    "night": (("0.083", "0.061", "0.050"), NIGHT),
    "weekend": (("0.055", "0.048", "0.041"), WEEKEND),
}


def compared(case: str) -> Tariff:
    """The tariffs of PEER, to a millionth, as PySAM does not round."""
    volume = TierVolume.PERIOD if case.endswith("by period") else TierVolume.MONTH
    if case == "time of use":
        energy = tuple(EnergyRate(name, tiers((None, prices[0])), hours) for name, (prices, hours) in STEPS.items())
    elif case.startswith("tiers in time of use"):
        energy = tuple(
            EnergyRate(name, tiers((20_000, one), (60_000, two), (None, three)), hours)
            for name, ((one, two, three), hours) in STEPS.items()
        )
    else:
        energy = (EnergyRate("all", tiers((20_000, "0.171"), (60_000, "0.132"), (None, "0.094"))),)
    back = Ratchet(Decimal("0.8"), 11) if case == "ratchet" else None
    flat = DemandCharge("flat", tiers((200, "7.50"), (None, "6.10")), 60, ratchet=back)
    timed = DemandCharge("peak", tiers((150, "4.20"), (None, "5.30")), 60, DAY)
    return Tariff(
        case,
        "USD",
        energy=energy,
        tier_volume=volume,
        # PySAM's billed demand takes the place of the demand of timed periods too; ours keeps each charge's own.
        demand=(flat,) if case == "ratchet" else (flat, timed),
        fixed=(Fixed("base", Decimal(120)),),
        rounding=Rounding(Decimal("0.000001"), each_line=False),
    )


CASES = {
    "time of use": "three periods, demand of all hours and of day hours in tiers, fixed",
    "tiers": "one period in three tiers, the same demand",
    "ratchet": "the same tiers, demand of all hours with a ratchet of 80 % over 11 months",
    "tiers in time of use": "three periods of three tiers, filled by the whole month and shared out by use",
}
# The other rule a tariff may declare; PySAM has only the one above, and the distance is shown, not held to a goal.
BY_PERIOD = "tiers in time of use, by period"


def loads() -> list[Load]:
    chance = np.random.default_rng(2026)
    made = []
    for _ in range(LOADS):
        level, swing = chance.uniform(50, 400), chance.uniform(0, 200)
        hours = np.arange(8760)
        kw = level + swing * np.sin(hours * 2 * np.pi / 24) ** 2 + chance.gamma(2.0, 20.0, 8760)
        made.append(Load.from_kw(YEAR, 3600, kw * chance.uniform(0.4, 1.0, 12)[month_of(hours)]))
    return made


def month_of(hours: np.ndarray) -> np.ndarray:
    return ((np.datetime64("2018-01-01T00") + hours).astype("datetime64[M]").astype(int)) % 12


# Runs in PySAM's own environment. Rows: (period, tier, limit, unit, buy, sell), (month or period, tier, kW, price).
PEER = """
import json, sys
import PySAM, PySAM.Utilityrate5 as ur
asked = json.load(sys.stdin)
top = 1e38
weekday = [[2] * 8 + [1] * 12 + [2] * 4 for _ in range(12)]
weekend = [[3] * 24 for _ in range(12)]
full = ((.171, .132, .094), (.083, .061, .050), (.055, .048, .041))
steps = {"time of use": [(p[0],) * 3 for p in full], "tiers in time of use": full}
flat = [row for m in range(12) for row in ([m, 1, 200, 7.5], [m, 2, top, 6.1])]
def year(load, case):
    prices = steps.get(case, [full[0]] * 3)
    one = case in ("tiers", "ratchet")  # a single period: the schedule says so, the table still has three
    wd, we = ([[1] * 24] * 12, [[1] * 24] * 12) if one else (weekday, weekend)
    # It wants the same tiers in each period.
    energy = [[p + 1, t + 1, (20000, 60000, top)[t], 0, prices[p][t], 0]
              for p in range(1 if one else 3) for t in range(3)]
    high = 0.0 if case == "ratchet" else 1.0
    timed = [[1, 1, 150, 4.2 * high], [1, 2, top, 5.3 * high],
             [2, 1, 150, 0], [2, 2, top, 0], [3, 1, 150, 0], [3, 2, top, 0]]
    m = ur.new()
    m.Lifetime.assign(dict(analysis_period=1, inflation_rate=0.0, system_use_lifetime_output=0))
    m.SystemOutput.assign(dict(gen=[0.0] * 8760, degradation=[0.0]))
    m.Load.assign(dict(load=load, load_escalation=[0.0], grid_outage=[0.0] * 8760))
    rates = dict(en_electricity_rates=1, rate_escalation=[0.0], ur_metering_option=0, ur_monthly_fixed_charge=120.0,
                 ur_monthly_min_charge=0.0, ur_annual_min_charge=0.0, ur_ec_sched_weekday=wd,
                 ur_ec_sched_weekend=we, ur_ec_tou_mat=energy, ur_dc_enable=1, ur_dc_sched_weekday=weekday,
                 ur_dc_sched_weekend=weekend, ur_dc_tou_mat=timed, ur_dc_flat_mat=flat, ur_en_ts_buy_rate=0,
                 ur_en_ts_sell_rate=0, ur_sell_eq_buy=0, ur_nm_yearend_sell_rate=0.0, ur_nm_credit_month=11,
                 ur_nm_credit_rollover=0, ur_nb_credit_expire=0, ur_nb_apply_credit_current_month=0,
                 TOU_demand_single_peak=0, ur_enable_billing_demand=0)
    if case == "ratchet":
        rates.update(ur_enable_billing_demand=1, ur_billing_demand_lookback_period=11, ur_billing_demand_minimum=0.0,
                     ur_billing_demand_lookback_percentages=[[80.0, 1.0]] * 12, ur_yearzero_usage_peaks=[0.0] * 12,
                     ur_dc_billing_demand_periods=[[1, 1], [2, 1], [3, 1]])
    m.ElectricityRates.assign(rates)
    m.execute()
    return m.Outputs.utility_bill_wo_sys_year1
bills = {case: [year(load, case) for load in asked["loads"]] for case in asked["cases"]}
json.dump(dict(bills=bills, version=getattr(PySAM, "__version__", "")), sys.stdout)
"""


def peer_python(folder: Path) -> Path:
    if "--pysam" in sys.argv:
        return Path(sys.argv[sys.argv.index("--pysam") + 1])
    venv.create(folder / "pysam", with_pip=True)
    python = folder / "pysam" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "NREL-PySAM"], check=True, capture_output=True, timeout=600
    )
    return python


def against_pysam() -> list[Row]:
    case = f"{LOADS} random loads of a year, largest difference to PySAM"
    made = loads()
    with tempfile.TemporaryDirectory() as folder:
        try:
            python = peer_python(Path(folder))
            asked = json.dumps({"cases": list(CASES), "loads": [(one.milli_wh / 10**6).tolist() for one in made]})
            done = subprocess.run(
                [python, "-c", PEER], input=asked, capture_output=True, text=True, check=True, timeout=600
            )
        except (OSError, subprocess.SubprocessError) as err:
            said = (getattr(err, "stderr", "") or str(err)).strip().splitlines()
            return [Row(case, None, "USD", note=f"PySAM could not run: {said[-1] if said else err}")]
    answer = json.loads(done.stdout)
    rows = []
    for name, words in CASES.items():
        ours = [bill(compared(name), one) for one in made]
        totals = [float(one.total) for one in ours]
        gap = max(abs(mine - theirs) for mine, theirs in zip(totals, answer["bills"][name], strict=True))
        note = f"{words}; bills {min(totals):,.0f} to {max(totals):,.0f} USD; PySAM {answer['version']}"
        if name == "ratchet":
            note += f"; the ratchet binds in {sum(one.of(Kind.RATCHET) > 0 for one in ours)} of {LOADS}"
        rows.append(Row(f"{case}: {name}", gap, "USD", PYSAM_GOAL, f"<{PYSAM_GOAL:g}", gap < PYSAM_GOAL, note))
    other = [float(bill(compared(BY_PERIOD), one).total) for one in made]
    gaps = [abs(one / sam - 1) for one, sam in zip(other, answer["bills"]["tiers in time of use"], strict=True)]
    note = "a tariff whose periods each fill their own tiers; how far the two rules lie apart, as a share of the bill"
    rows.append(Row(f"the same, {BY_PERIOD}", 100 * max(gaps), "%", note=note))
    return rows


def speed() -> list[Row]:
    tariff, load = compared("tiers in time of use"), loads()[0]
    warm, cold = [], []
    bill(tariff, load)
    for times, clear in ((warm, False), (cold, True)):
        for _ in range(30):
            if clear:
                calendar.cache_clear()
            began = time.perf_counter()
            made = bill(tariff, load)
            times.append((time.perf_counter() - began) * 1e3)
    assert made.total > 0
    rows = []
    for case, times in (("median of 30", warm), ("of a calendar not seen before, median of 30", cold)):
        took = statistics.median(times)
        rows.append(Row(f"8,760-hour bill, {case}", took, "ms", GOAL_MS, "<20", took < GOAL_MS))
    return rows


if __name__ == "__main__":
    sys.exit(finish("tariff", [*printed(), *ratchets(), *against_pysam(), *speed()]))

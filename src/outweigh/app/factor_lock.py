"""Factors of a project's sites, kept as they were: a new table never looks like a regression.

The file lies beside energy.toml and is committed with it. A pull request is weighed with the base's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from outweigh.core.errors import ConfigError, FactorMissing, OutputError
from outweigh.core.measurement import Factor, Grade, utc
from outweigh.core.project import Project, SiteSpec
from outweigh.core.quantities import CarbonBasis, CarbonIntensity, CarbonScope, Price
from outweigh.grid import resolve_site, site_factors
from outweigh.ports import SiteFactors

FILE = "energy.factors.json"
_KIND, _SCHEMA = "outweigh.factors", 1


@dataclass(frozen=True, slots=True)
class LockedFactors:
    """A `SiteFactors` whose locked figures win over those of the source behind it."""

    source: SiteFactors
    intensities: Mapping[str, tuple[CarbonIntensity, Factor]]
    prices: Mapping[str, tuple[Price, Factor]]
    pues: Mapping[str, tuple[float, Factor]]
    locked: str

    def zones(self) -> tuple[str, ...]:
        return self.source.zones()

    def intensity(self, zone: str) -> tuple[CarbonIntensity, Factor]:
        return self.intensities.get(zone) or self.source.intensity(zone)

    def price(self, zone: str) -> tuple[Price, Factor]:
        return self.prices.get(zone) or self.source.price(zone)

    def pue(self, region: str) -> tuple[float, Factor]:
        return self.pues.get(region) or self.source.pue(region)


def factors_for(project: Project) -> SiteFactors:
    """Where the factors of its sites are taken from: the lock beside energy.toml, and the tables for the rest.

    Raises:
        ConfigError: there is a lock, and it cannot be read.
    """
    tables = site_factors()
    return _read(Path(project.root) / FILE, tables) or tables


def lock_factors(project: Project, now: datetime | None = None) -> Path:
    """Write what the tables say today of the project's sites. What a site declares itself is not looked up.

    Raises:
        FactorMissing: a figure is neither declared nor known.
        OutputError: the file cannot be written.
    """
    tables = site_factors()
    body: dict[str, Any] = {
        "kind": _KIND, "schema": _SCHEMA, "locked": utc(now or datetime.now(UTC)), "intensity": {}, "price": {},
        "pue": {},
    }  # fmt: skip
    for spec in project.sites:
        resolve_site(spec, tables)  # before anything is written: every figure is known
        for kind, name, looked_up in _figures(spec, tables):
            value, factor = looked_up
            body[kind][name] = {"value": _value(value), "factor": asdict(factor) | {"grade": factor.grade.value}}
    path = Path(project.root) / FILE
    try:
        path.write_text(json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as err:
        raise OutputError(str(path), err.strerror or str(err), "Choose a folder you may write to") from err
    return path


def lock_notes(project: Project) -> Iterator[str]:
    """That there is a lock, and where the tables have moved on from it."""
    source = factors_for(project)
    if not isinstance(source, LockedFactors):
        return
    moved = []
    for spec in project.sites:
        now = {kind: factor for kind, _, (_, factor) in _figures(spec, source.source, missing_ok=True)}
        for kind, _, (_, factor) in _figures(spec, source):
            if kind in now and now[kind].value != factor.value:
                unit = "" if factor.unit == "1" else f" {factor.unit}"
                moved.append(f"{factor.name}: {factor.value:g}, now {now[kind].value:g}{unit}")
    said = f"; the tables have moved on ({'; '.join(dict.fromkeys(moved))})" if moved else ""
    yield (
        f"Factors of the sites are those locked on {source.locked[:10]} in {FILE}{said}. `outweigh gate lock-factors` "
        "takes today's"
    )


def _figures(
    spec: SiteSpec, source: SiteFactors, *, missing_ok: bool = False
) -> Iterator[tuple[str, str, tuple[Any, Factor]]]:
    """What is looked up for a site: kind, name in its table, figure and factor."""
    asked: list[tuple[str, str, Any]] = [("intensity", spec.zone, source.intensity)]
    if spec.price is None:
        asked.append(("price", spec.zone, source.price))
    if spec.pue is None and spec.region:
        asked.append(("pue", spec.region, source.pue))
    for kind, name, look_up in asked:
        try:
            yield kind, name, look_up(name)
        except FactorMissing:
            if not missing_ok:
                raise


def _value(value: CarbonIntensity | Price | float) -> object:
    if isinstance(value, CarbonIntensity):
        return {"g_per_kwh": value.g_per_kwh, "basis": value.basis.value, "scope": value.scope.value}
    if isinstance(value, Price):
        return {"amount_per_kwh": value.amount_per_kwh, "currency": value.currency}
    return value


def _read(path: Path, tables: SiteFactors) -> LockedFactors | None:
    remedy = "Take it back from version control, or write it anew with `outweigh gate lock-factors`"
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as err:
        raise ConfigError(str(path), 0, f"it cannot be read ({err})", remedy) from err
    try:
        if (body["kind"], body["schema"]) != (_KIND, _SCHEMA):
            raise ConfigError(str(path), 0, f"it is {body['kind']!r}, schema {body['schema']!r}", remedy)
        return LockedFactors(
            tables,
            {name: (_intensity(one["value"]), _factor(one)) for name, one in body["intensity"].items()},
            {name: (Price(**one["value"]), _factor(one)) for name, one in body["price"].items()},
            {name: (float(one["value"]), _factor(one)) for name, one in body["pue"].items()},
            str(body["locked"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise ConfigError(str(path), 0, f"it is no whole lock ({type(err).__name__}: {err})", remedy) from err


def _intensity(told: Mapping[str, Any]) -> CarbonIntensity:
    return CarbonIntensity(told["g_per_kwh"], CarbonBasis(told["basis"]), CarbonScope(told["scope"]))


def _factor(entry: Mapping[str, Any]) -> Factor:
    told = dict(entry["factor"])
    return Factor(**(told | {"grade": Grade(told["grade"])}))

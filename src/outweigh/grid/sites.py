"""From a site as declared to a site with every figure and where it came from."""

from __future__ import annotations

from outweigh.core.errors import FactorMissing, UsageError
from outweigh.core.measurement import Factor, Grade
from outweigh.core.project import SiteSpec
from outweigh.core.quantities import Price
from outweigh.core.site import PueCurve, Site
from outweigh.ports import GridSource, SiteFactors
from outweigh.registry import grid_sources

DECLARED = "declared in energy.toml"


def site_factors(name: str = "tables") -> SiteFactors:
    """A source of one figure a zone or region, for a site's month. Raises UnknownBackend, or UsageError where it has
    none."""
    return _figures(grid_sources.get(name).make())


def _figures(source: SiteFactors | GridSource) -> SiteFactors:
    if not isinstance(source, SiteFactors):
        raise UsageError(f"grid source {source.name} has no yearly figures of sites", "Take 'tables'")
    return source


def resolve_site(spec: SiteSpec, source: SiteFactors | GridSource) -> Site:
    """A site with what is declared taken as declared, and the rest looked up by zone and region.

    A declared figure always wins over the source: the team knows its tariff and its building. It is of grade D
    all the same (Method.DECLARED): nobody here has measured it. A looked-up PUE is a yearly mean, so its curve
    is flat.

    Raises:
        FactorMissing: neither declared nor known to the source; never a default in its place.
        UsageError: the source has no yearly figures.
    """
    source = _figures(source)
    intensity, intensity_factor = source.intensity(spec.zone)
    price, price_factor = _price(spec, source)
    pue, pue_factors = _pue(spec, source)
    factors = (intensity_factor, price_factor, *pue_factors)
    return Site(spec.name, spec.zone, pue, spec.capacity, intensity, price, factors)


def _price(spec: SiteSpec, source: SiteFactors) -> tuple[Price, Factor]:
    if spec.price is None:
        return source.price(spec.zone)
    name = f"electricity price at {spec.name}"
    return spec.price, _declared(name, spec.price.amount_per_kwh, f"{spec.price.currency}/kWh")


def _pue(spec: SiteSpec, source: SiteFactors) -> tuple[PueCurve, tuple[Factor, ...]]:
    if spec.pue is not None:
        ends = {"idle": spec.pue.idle, "full load": spec.pue.full}
        return spec.pue, tuple(_declared(f"PUE of {spec.name} at {end}", value, "1") for end, value in ends.items())
    if not spec.region:
        raise FactorMissing(
            "PUE",
            spec.name,
            (),
            'Declare pue for the site, or region = "aws:eu-central-1" to take the provider\'s figure',
        )
    value, factor = source.pue(spec.region)
    return PueCurve(value, value), (factor,)


def _declared(name: str, value: float, unit: str) -> Factor:
    return Factor(name, value, unit, DECLARED, "", "", "", Grade.D)

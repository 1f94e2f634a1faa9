"""From a site as declared to a site with every figure and where it came from."""

from __future__ import annotations

from outweigh.core.errors import FactorMissing
from outweigh.core.measurement import Factor, Grade
from outweigh.core.project import SiteSpec
from outweigh.core.quantities import Price
from outweigh.core.site import PueCurve, Site
from outweigh.ports import GridSource

DECLARED = "declared in energy.toml"


def resolve_site(spec: SiteSpec, source: GridSource) -> Site:
    """A site with what is declared taken as declared, and the rest looked up by zone and region.

    A declared figure always wins over the source: the team knows its tariff and its building. It is of grade D
    all the same (Method.DECLARED): nobody here has measured it. A looked-up PUE is a yearly mean, so its curve
    is flat.

    Raises:
        FactorMissing: neither declared nor known to the source; never a default in its place.
    """
    intensity, intensity_factor = source.intensity(spec.zone)
    price, price_factor = _price(spec, source)
    pue, pue_factors = _pue(spec, source)
    factors = (intensity_factor, price_factor, *pue_factors)
    return Site(spec.name, spec.zone, pue, spec.capacity, intensity, price, factors)


def _price(spec: SiteSpec, source: GridSource) -> tuple[Price, Factor]:
    if spec.price is None:
        return source.price(spec.zone)
    name = f"electricity price at {spec.name}"
    return spec.price, _declared(name, spec.price.amount_per_kwh, f"{spec.price.currency}/kWh")


def _pue(spec: SiteSpec, source: GridSource) -> tuple[PueCurve, tuple[Factor, ...]]:
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

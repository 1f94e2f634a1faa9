"""The ENTSO-E Transparency Platform: day-ahead prices of European bidding zones, and carbon from their generation.

Prices are those of the Single Day-Ahead Coupling. Intensity is average, life-cycle and production-based: actual
generation per type (A75) times the medians of `outweigh.data.fuels`; what storage gives or takes is left out.

What was checked, and where:
- Parameters, document and curve types: ENTSO-E's RESTful API guide, the curve type guide v1.4, entsoe-py 0.8.1.
- Several day-ahead auctions share one document. SDAC is sequence 1; sequence 2 is EXAA's of 10:15, for DE-LU and AT,
  and stands alone while SDAC is late (entsoe-py issues 422, 445, 469; ha_epex_spot 317). Contract A07 is intraday
  (entsoe-py issue 446). Only A01, sequence 1 or none, is a day-ahead price here: what is late is a gap.
- No data is an acknowledgement with reason 999 and "No matching data found", with status 200 (recorded answers of
  2025-10 and 2026-03); the same code stands for a bad question, so the text decides.
- 400 requests a minute for each token and address, then ten minutes of refusal; a year a request (API guide).
- Actual generation is late by about 16 hours (measured by others in 2026-09).
Not checked against a live call: whether every zone here publishes every document. Great Britain has published neither
since 2021. There is no forecast here: A69 and A71 give wind, sun and the total, and not by which fuel the rest runs.
Terms: those of the platform. Much of it is listed for free re-use under CC BY 4.0; auction prices may belong to the
exchanges, so ask before you pass them on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Self

from outweigh.backends.grid import _entsoe_xml as xml
from outweigh.backends.grid._answering import meaning_of, no_argument, not_offered, unknown_zone
from outweigh.backends.grid._http import Reply, Web, clock, fresh_until, key_of, probed
from outweigh.backends.grid._mix import BEFORE, MEANING, METHOD, STORAGE, Generation, intensity_slots
from outweigh.backends.grid._shapes import check_window, invalid, reading, spans
from outweigh.core.errors import FactorMissing, GridUnavailable
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.core.series import (
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Market,
    Origin,
    PriceMeaning,
    PriceSeries,
    Slot,
)
from outweigh.data.places import zone_names
from outweigh.ports import Availability, Offer, SourceLimits
from outweigh.registry import grid_sources

FUELS: Mapping[str, str] = {
    "B01": "biomass",
    "B02": "lignite",
    "B03": "coal-derived gas",
    "B04": "gas",
    "B05": "coal",
    "B06": "oil",
    "B07": "oil shale",
    "B08": "peat",
    "B09": "geothermal",
    "B10": STORAGE,
    "B11": "hydro",
    "B12": "hydro",
    "B13": "marine",
    "B14": "nuclear",
    "B15": "other",
    "B16": "solar",
    "B17": "other",
    "B18": "wind-offshore",
    "B19": "wind",
    "B20": "other",
    "B25": STORAGE,
}
# Energy Identification Codes of bidding zones, from ENTSO-E's list of areas.
_BAN_S = 600.0
_ZONES: Mapping[str, str] = {
    "AT": "10YAT-APG------L",
    "BA": "10YBA-JPCC-----D",
    "BE": "10YBE----------2",
    "BG": "10YCA-BULGARIA-R",
    "CH": "10YCH-SWISSGRIDZ",
    "CZ": "10YCZ-CEPS-----N",
    "DE": "10Y1001A1001A82H",
    "DK-DK1": "10YDK-1--------W",
    "DK-DK2": "10YDK-2--------M",
    "EE": "10Y1001A1001A39I",
    "ES": "10YES-REE------0",
    "FI": "10YFI-1--------U",
    "FR": "10YFR-RTE------C",
    "GR": "10YGR-HTSO-----Y",
    "HR": "10YHR-HEP------M",
    "HU": "10YHU-MAVIR----U",
    "IE": "10Y1001A1001A59C",
    "IT-CNO": "10Y1001A1001A70O",
    "IT-CSO": "10Y1001A1001A71M",
    "IT-NO": "10Y1001A1001A73I",
    "IT-SAR": "10Y1001A1001A74G",
    "IT-SIC": "10Y1001A1001A75E",
    "IT-SO": "10Y1001A1001A788",
    "LT": "10YLT-1001A0008Q",
    "LU": "10Y1001A1001A82H",
    "LV": "10YLV-1001A00074",
    "ME": "10YCS-CG-TSO---S",
    "MK": "10YMK-MEPSO----8",
    "NL": "10YNL----------L",
    "NO-NO1": "10YNO-1--------2",
    "NO-NO2": "10YNO-2--------T",
    "NO-NO3": "10YNO-3--------J",
    "NO-NO4": "10YNO-4--------9",
    "NO-NO5": "10Y1001A1001A48H",
    "PL": "10YPL-AREA-----S",
    "PT": "10YPT-REN------W",
    "RO": "10YRO-TEL------P",
    "RS": "10YCS-SERBIATSOV",
    "SE-SE1": "10Y1001A1001A44P",
    "SE-SE2": "10Y1001A1001A45N",
    "SE-SE3": "10Y1001A1001A46L",
    "SE-SE4": "10Y1001A1001A47J",
    "SI": "10YSI-ELES-----O",
    "SK": "10YSK-SEPS-----K",
}
# The bidding zone is larger than what was asked for; the origin says so.
_LARGER = {"DE": "DE-LU", "LU": "DE-LU", "IE": "IE (with Northern Ireland)"}
_ONLY_PRICES = frozenset({"LU"})

_A_REQUEST = timedelta(days=31)
_DAY_AHEAD = "A01"
_SDAC = ("", "1")
_NO_DATA = "No matching data found"
_GET_A_KEY = "Register free at https://transparency.entsoe.eu, ask its help desk for API access and make a token"


@grid_sources.register("entsoe")
class EntsoeGrid:
    """Day-ahead prices (15 or 60 minutes) and average intensity of European bidding zones. Needs a free token."""

    name: ClassVar[str]

    def __init__(self, *, now: Callable[[], datetime] = clock) -> None:
        self._now = now
        self._web: Web | None = None

    @classmethod
    def probe(cls) -> Availability:
        sees = f"day-ahead prices and average intensity of {len(_ZONES)} European zones"
        return probed(cls.name, sees, Grade.B, key=True, where_to_get=_GET_A_KEY)

    @classmethod
    def make(cls, argument: str = "") -> Self:
        no_argument(cls.name, argument)
        return cls()

    @property
    def limits(self) -> SourceLimits:
        return SourceLimits(
            frozenset({Offer.CARBON, Offer.PRICES}),
            (MEANING,),
            steps_s=(900.0, 1800.0, 3600.0),
            ahead_s=2 * 86400.0,
            window_s=_A_REQUEST.total_seconds(),
            requests_per_hour=24_000.0,
            needs_key=True,
            attribution="ENTSO-E Transparency Platform",
        )

    def zones(self) -> tuple[str, ...]:
        return tuple(sorted(_ZONES))

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        area = self._area(zone)
        asked = meaning_of(self.limits, meaning, self.name, zone)
        if zone in _ONLY_PRICES:
            not_offered(self.name, "carbon intensity", zone)
        check_window(window)
        query = {"documentType": "A75", "processType": "A16", "in_Domain": area}
        documents = self._documents(query, Interval(window.start - BEFORE, window.end))
        by_type: dict[str, list[xml.Curve]] = {}
        for document, reply in documents:
            for curve in document.curves:
                # A curve out of the zone is what plants took: pumps, batteries, their own use.
                if "outBiddingZone_Domain.mRID" not in curve.fields:
                    self._check(curve, "inBiddingZone_Domain.mRID", area, reply)
                    self._check(curve, "quantity_Measure_Unit.name", "MAW", reply)
                    by_type.setdefault(curve.fields.get("psrType", ""), []).append(curve)
        origin = self._origin(zone, documents, METHOD)
        with reading(documents[0][1]):
            rows = [
                Generation(step.start, step.end, code, step.value)
                for code, curves in by_type.items()
                for step in xml.finest(curves)
            ]
        slots = intensity_slots(rows, FUELS, self.name, zone)
        return CarbonSeries.of(slots, window, asked, origin)

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        not_offered(self.name, "carbon forecast", zone)

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        """Those of SDAC. Where a document holds several resolutions for one time, the finer is taken."""
        area = self._area(zone)
        check_window(window)
        query = {
            "documentType": "A44",
            "contract_MarketAgreement.type": _DAY_AHEAD,
            "in_Domain": area,
            "out_Domain": area,
        }
        documents = self._documents(query, window)
        curves: list[xml.Curve] = []
        for document, reply in documents:
            for curve in document.curves:
                if not _is_sdac(curve):
                    continue
                self._check(curve, "out_Domain.mRID", area, reply)
                self._check(curve, "price_Measure_Unit.name", "MWH", reply)
                curves.append(curve)
        currencies = {curve.fields.get("currency_Unit.name", "") for curve in curves}
        origin = self._origin(zone, documents)
        if not currencies:
            said = next((document.reason[1] for document, _ in documents if document.reason), "")
            raise FactorMissing(
                "day-ahead price", zone, (), f"{said or 'The coupled auction is not published yet'}; ask later"
            )
        if len(currencies) > 1:
            raise invalid(documents[0][1], f"its prices are in {' and '.join(sorted(currencies))}")
        meaning = PriceMeaning(currencies.pop(), Market.DAY_AHEAD, taxes=False)
        with reading(documents[0][1]):
            slots = [
                Slot(step.start, step.end, PriceSeries.per_mwh(step.value), DataQuality.MEASURED)
                for step in xml.finest(curves)
            ]
        return PriceSeries.of(slots, window, meaning, origin)

    def _documents(self, query: Mapping[str, str], window: Interval) -> list[tuple[xml.Document, Reply]]:
        documents = []
        for span in spans(window, 3600.0, _A_REQUEST.total_seconds()):
            asked = {**query, "periodStart": f"{span.start:%Y%m%d%H%M}", "periodEnd": f"{span.end:%Y%m%d%H%M}"}
            fresh = fresh_until(span, self._now(), 900.0)
            # A refusal is an acknowledgement too, and says more than its status.
            reply = self._asked().get("/api", asked, fresh_until=fresh, expects="text", allow=(400,))
            document = xml.read(reply)
            if document.reason is not None and _NO_DATA not in document.reason[1]:
                code, text = document.reason
                raise GridUnavailable(self.name, f"it refuses ({code}): {text}", "Check what was asked for")
            documents.append((_within(document, span), reply))
        return documents

    def _asked(self) -> Web:
        if self._web is None:
            self._web = Web(
                self.name,
                "https://web-api.tp.entsoe.eu",
                params={"securityToken": key_of(self.name, _GET_A_KEY)},
                now=self._now,
                requests_per_minute=400.0,
                ban_s=_BAN_S,
                key_remedy=f"{_GET_A_KEY}, then set OUTWEIGH_ENTSOE_KEY",
            )
        return self._web

    def _area(self, zone: str) -> str:
        if zone not in _ZONES:
            names = zone_names()
            unknown_zone(
                self.name,
                zone,
                {key: (names[key].name if key in names else "", _LARGER.get(key, "")) for key in _ZONES},
            )
        return _ZONES[zone]

    def _origin(self, zone: str, documents: list[tuple[xml.Document, Reply]], method: str = "") -> Origin:
        issued = [document.created_at for document, _ in documents if document.created_at is not None]
        return Origin(
            "ENTSO-E",
            _LARGER.get(zone, zone),
            f"ENTSO-E Transparency Platform, {documents[0][1].where}",
            "ENTSO-E Transparency Platform terms",
            method,
            issued_at=max(issued, default=None),
            retrieved_at=max(reply.retrieved_at for _, reply in documents),
        )

    def _check(self, curve: xml.Curve, field: str, expected: str, reply: Reply) -> None:
        found = curve.fields.get(field, expected)
        if found != expected:
            raise invalid(reply, f"{field} is {found!r}, and {expected!r} was asked")


def _within(document: xml.Document, span: Interval) -> xml.Document:
    """Without what lies outside of the request: whole market days come back, and two answers may be of two issues."""
    curves = (
        curve._replace(steps=tuple(step for step in curve.steps if span.contains(step.start)))
        for curve in document.curves
    )
    return document._replace(curves=tuple(curves))


def _is_sdac(curve: xml.Curve) -> bool:
    sequence = curve.fields.get("classificationSequence_AttributeInstanceComponent.position", "")
    return curve.fields.get("contract_MarketAgreement.type", _DAY_AHEAD) == _DAY_AHEAD and sequence in _SDAC

"""What ENTSO-E documents say: curves of points on fixed resolutions, or that there are none.

Read with the standard library's expat, which is told to refuse a document type: without one there are no entities to
expand and nothing outside to fetch. entsoe-py would do the reading too; it brings pandas, requests and
BeautifulSoup, asks without our cache, prints addresses with the key in its errors, and fills a document's gaps
without telling. It stays the judge in our tests.

Source: ENTSO-E, "The Introduction of different Timeseries possibilities (curvetypes)", v1.4: A01 gives every position;
in A03 a position that is left out repeats the value before it, to the end of the period.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple
from xml.etree import ElementTree
from xml.parsers import expat

from outweigh.backends.grid._http import Reply
from outweigh.backends.grid._shapes import reading, stamp

_RESOLUTION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?")
_LONGEST = 400 * 96  # positions: a year of quarter hours, and some


class Step(NamedTuple):
    start: datetime
    end: datetime
    value: float


class Curve(NamedTuple):
    """One TimeSeries: its plain fields by name, and its steps in order of time."""

    fields: dict[str, str]
    steps: tuple[Step, ...]


class Document(NamedTuple):
    """`reason` is (code, text) of an acknowledgement, which has no curves."""

    kind: str
    created_at: datetime | None
    curves: tuple[Curve, ...]
    reason: tuple[str, str] | None


def read(reply: Reply) -> Document:
    """
    Raises:
        GridDataInvalid: not XML, a document type, a curve that does not fit into its period.
    """
    with reading(reply):
        return _document(_parsed(reply.text))


def _document(root: ElementTree.Element) -> Document:
    created = _text(root, "createdDateTime")
    created_at = stamp(created) if created else None
    if root.tag == "Acknowledgement_MarketDocument":
        reason = root.find("Reason")
        said = ("", "") if reason is None else (_text(reason, "code"), _text(reason, "text"))
        return Document(root.tag, created_at, (), said)
    if not root.tag.endswith("MarketDocument"):
        raise ValueError(f"it is a {root.tag!r}, not a market document")
    return Document(root.tag, created_at, tuple(_curve(one) for one in root.iter("TimeSeries")), None)


def finest(curves: Iterable[Curve]) -> list[Step]:
    """One sequence of steps from several curves; where two cover the same time, the finer resolution holds.

    Raises:
        ValueError: two of the same resolution differ.
    """
    by_length: dict[timedelta, dict[datetime, Step]] = {}
    for curve in curves:
        for step in curve.steps:
            held = by_length.setdefault(step.end - step.start, {})
            before = held.setdefault(step.start, step)
            if before.value != step.value:
                problem = f"{step.start:%Y-%m-%dT%H:%MZ} is {before.value:g} and {step.value:g}"
                raise ValueError(problem)
    lengths = sorted(by_length)
    if len(lengths) == 1:
        return sorted(by_length[lengths[0]].values())
    grain = timedelta(minutes=math.gcd(*(int(length.total_seconds()) // 60 for length in lengths)))
    taken: list[Step] = []
    covered: set[datetime] = set()
    for length in lengths:
        for step in by_length[length].values():
            grains = [step.start + i * grain for i in range(length // grain)]
            taken.extend(_runs([one for one in grains if one not in covered], step.value, grain))
            covered.update(grains)
    return sorted(taken)


def _runs(starts: list[datetime], value: float, grain: timedelta) -> Iterator[Step]:
    """Adjoining grains as one step."""
    first: datetime | None = None
    for i, start in enumerate(starts):
        first = first or start
        if i + 1 == len(starts) or starts[i + 1] - start != grain:
            yield Step(first, start + grain, value)
            first = None


def _parsed(text: str) -> ElementTree.Element:
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise ValueError("it declares a document type, which no market document has")

    def opened(tag: str, attributes: dict[str, str]) -> None:
        builder.start(tag.rpartition(":")[2], attributes)

    def closed(tag: str) -> None:
        builder.end(tag.rpartition(":")[2])

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = opened
    parser.EndElementHandler = closed
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as err:
        raise ValueError(f"it is not XML ({err})") from err
    return builder.close()


def _curve(series: ElementTree.Element) -> Curve:
    fields = {child.tag: (child.text or "").strip() for child in series if len(child) == 0}
    fields.update({child.tag: (child.text or "").strip() for one in series.findall("MktPSRType") for child in one})
    curve_type = fields.get("curveType", "A01")
    if curve_type not in ("A01", "A03"):
        raise ValueError(f"curve type {curve_type!r} is not one that we can read (A01, A03)")
    steps = [step for period in series.findall("Period") for step in _steps(period, curve_type)]
    return Curve(fields, tuple(sorted(steps)))


def _steps(period: ElementTree.Element, curve_type: str) -> Iterator[Step]:
    interval = period.find("timeInterval")
    if interval is None:
        raise ValueError("a period has no timeInterval")
    start, end = stamp(_text(interval, "start")), stamp(_text(interval, "end"))
    matched = _RESOLUTION.fullmatch(_text(period, "resolution"))
    minutes = sum(int(part or 0) * per for part, per in zip(matched.groups(), (60, 1), strict=True)) if matched else 0
    if minutes <= 0:
        raise ValueError(f"resolution {_text(period, 'resolution')!r} is not one that we can read (PT15M, PT60M)")
    step = timedelta(minutes=minutes)
    n, rest = divmod(end - start, step)
    if n <= 0 or n > _LONGEST or rest:
        raise ValueError(f"a period of {end - start} does not hold steps of {minutes} minutes")
    points: dict[int, float] = {}
    for point in period.findall("Point"):
        position, value = _point(point)
        if not 1 <= position <= n:
            raise ValueError(f"position {position} lies outside of its period of {n}")
        if points.setdefault(position, value) != value:
            raise ValueError(f"position {position} has two values")
    held: float | None = None
    for position in range(1, n + 1):
        given = points.get(position)
        if curve_type == "A03":
            held = given if given is not None else held
            given = held
        if given is not None:
            yield Step(start + (position - 1) * step, start + position * step, given)


def _point(point: ElementTree.Element) -> tuple[int, float]:
    text = _text(point, "price.amount") or _text(point, "quantity")
    position = _text(point, "position")
    try:
        value, at = float(text), int(position)
    except ValueError as err:
        raise ValueError(f"a point is {position!r}: {text!r}") from err
    if not math.isfinite(value):
        raise ValueError(f"a point is {position!r}: {text!r}")
    return at, value


def _text(parent: ElementTree.Element, tag: str) -> str:
    return (parent.findtext(tag) or "").strip()

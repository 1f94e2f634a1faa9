"""`outweigh whatif negotiate`: buyers and offers from their files, as a sheet to take along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from outweigh.app.whatif_tariff import Asked, ask, in_money
from outweigh.config.negotiation import Negotiation, load_negotiation
from outweigh.core.errors import UsageError
from outweigh.core.rounding import significant
from outweigh.whatif.negotiating import POOLED, Curtailed, Paid, Sheet, Term, Turn, sheet
from outweigh.whatif.tariff.load import Load
from outweigh.whatif.tariff.terms import Kind

SCHEMA = "outweigh.negotiation/1"
_APART = "each alone"


@dataclass(frozen=True, slots=True)
class Negotiated:
    """The sheet as JSON, as tables (title, headings, rows), and its notes."""

    document: Mapping[str, Any]
    tables: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]
    lines: list[str]
    notes: list[str]


def negotiate(path: Path) -> Negotiated:
    """The sheet of a file (docs/tariffs.md).

    Raises:
        ConfigError: a file says something we refuse.
        SeriesMismatch: two currencies, or loads of different hours.
        UsageError: a load does not cover the year.
    """
    asked = load_negotiation(path)
    found = sheet(asked.today, _loads(asked), asked.offers, growth=asked.growth, rate=asked.rate)
    names = [offer.name for offer in asked.offers]
    notes = [f"bills of {asked.year} under each tariff file; the loads stay as they are"]
    if found.curtailed:
        notes.append("curtailed hours: first at the load's highest, then at its lowest; what is cut is not made up")
    seen = [note for paid in (*found.today.values(), *found.offered.values()) for note in paid.notes]
    notes += dict.fromkeys(seen)
    tables = [("", ("", "MWh/a", "today", *names), list(_bills(found, names))),
              (f"per kWh, {found.currency}", ("", "today", *names), list(_prices(found, names)))]  # fmt: skip
    return Negotiated(_document(asked, found), tables, list(_lines(asked, found)), notes)


def _loads(asked: Negotiation) -> dict[str, Load]:
    zone = ZoneInfo(asked.today.timezone)
    start, end = (datetime(year, 1, 1, tzinfo=zone) for year in (asked.year, asked.year + 1))
    loads: dict[str, Load] = {}
    for buyer in asked.buyers:
        given = Asked(
            asked.tariff_path, load=buyer.load, flat=buyer.flat or None, since=f"{asked.year}-01-01",
            until=f"{asked.year + 1}-01-01",
        )  # fmt: skip
        load = ask(given).load
        if (load.start, load.end) != (start, end):
            problem = f"the load of {buyer.name} runs from {load.start.isoformat()} to {load.end.isoformat()}"
            raise UsageError(problem, f"Give all of {asked.year}, from its first local hour to its last")
        loads[buyer.name] = load
    finest = min(load.step_s for load in loads.values())
    return {name: load.split(load.step_s // finest) for name, load in loads.items()}


def _bills(found: Sheet, offers: list[str]) -> Iterator[tuple[str, ...]]:
    alone = [who for who in found.today if who != POOLED]
    for who in alone:
        yield (who, _mwh(found.today[who]), in_money(found.today[who].total),
               *(in_money(found.offered[who, offer].total) for offer in offers))  # fmt: skip
    if POOLED in found.today:
        sums = [sum((found.offered[who, offer].total for who in alone), Decimal(0)) for offer in offers]
        yield _APART, _mwh(found.today[POOLED]), in_money(found.apart), *(in_money(one) for one in sums)
        yield (POOLED, _mwh(found.today[POOLED]), in_money(found.today[POOLED].total),
               *(in_money(found.offered[POOLED, offer].total) for offer in offers))  # fmt: skip


def _prices(found: Sheet, offers: list[str]) -> Iterator[tuple[str, ...]]:
    for who, paid in found.today.items():
        yield who, _each(paid), *(_each(found.offered[who, offer]) for offer in offers)


def _lines(asked: Negotiation, found: Sheet) -> Iterator[str]:
    money = found.currency
    if (saved := found.pooling) is not None:
        parts = {kind: amount for kind, amount in found.pooled_parts().items() if amount}
        split = ", ".join(f"{kind} {in_money(amount)}" for kind, amount in parts.items())
        yield f"pooling, today's tariff: saves {in_money(saved)} {money} a year" + (f" ({split})" if split else "")
    for offer in (one.name for one in asked.offers):
        said: dict[str, list[str]] = {}
        for who in found.today:
            key = who, offer
            said.setdefault(_turn_words(found.turns[key], found.offered[key], found.today[who]), []).append(who)
        for words, of in said.items():
            yield f"{offer}, in the shape of {', '.join(of)}: {words}"
    for (who, offer), one in found.terms.items():
        yield f"{offer}, {who}: {_term_words(one, money)}"
    for (who, offer), cut in found.curtailed.items():
        each = [one for one in cut.per_lost_kwh if one is not None]
        worth = f"; pays while a lost kWh is worth less than {_span(each, '.2f')} {money}" if each else ""
        yield f"{offer}, {who}: saves {_span(cut.saved, ',.2f')} {money} a year for {_lost(cut)} not drawn{worth}"
    if POOLED in found.today and asked.offers:
        least, name = min((found.offered[POOLED, offer.name].total, offer.name) for offer in asked.offers)
        gain = in_money(found.apart - least)
        yield f"the least bill is {name}, pooled: {gain} {money} a year below doing nothing, before any curtailment"


def _turn_words(turns: tuple[Turn, ...], offered: Paid, now: Paid) -> str:
    if not turns:
        word = "cheaper" if offered.total < now.total else "dearer" if offered.total > now.total else "the same"
        return f"{word} at any volume looked at"
    return "cheaper " + ", ".join(
        f"{'above' if turn.cheaper_above else 'below'} {significant(turn.kwh / 1e3)} MWh a year" for turn in turns
    )


def _term_words(one: Term, money: str) -> str:
    worth = f"{one.years} years are worth {in_money(round(one.worth, 2))} {money} now"
    worth += f" if today's prices grow by {100 * one.growth:g} % a year"
    if one.break_even is None:
        return worth
    return f"{worth}; nothing at {100 * one.break_even:.1f} %".replace("-", "\N{MINUS SIGN}")


def _lost(cut: Curtailed) -> str:
    low, high = (significant(kwh / 1e3) for kwh in sorted(map(float, cut.lost_kwh)))
    return f"{low} MWh" if low == high else f"{low} to {high} MWh"


def _span(values: Sequence[Decimal], spec: str) -> str:
    low, high = (format(one, spec).replace("-", "\N{MINUS SIGN}") for one in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _mwh(paid: Paid) -> str:
    return f"{paid.kwh / 1000:,.0f}"


def _each(paid: Paid) -> str:
    return "-" if paid.per_kwh is None else f"{paid.per_kwh:.5f}"


def _document(asked: Negotiation, found: Sheet) -> dict[str, Any]:
    def paid(one: Paid) -> dict[str, Any]:
        return {
            "total": float(one.total),
            "energy_j": float(one.kwh) * 3.6e6,
            "per_kwh": None if one.per_kwh is None else float(one.per_kwh),
            "parts": {str(kind): float(amount) for kind, amount in one.parts.items()},
        }

    def offer(who: str, name: str) -> dict[str, Any]:
        key = who, name
        term, cut = found.terms.get(key), found.curtailed.get(key)
        return {
            "offer": name,
            **paid(found.offered[key]),
            "saves": float(found.today[who].total - found.offered[key].total),
            "turns": [{"energy_j": one.kwh * 3.6e6, "cheaper_above": one.cheaper_above} for one in found.turns[key]],
            "term": None if term is None else {
                "years": term.years, "growth": term.growth, "worth": term.worth, "break_even_growth": term.break_even,
            },
            "curtailment": None if cut is None else {
                "called": ["highest hours", "lowest hours"],
                "saved": [float(one) for one in cut.saved],
                "lost_energy_j": [float(one) * 3.6e6 for one in cut.lost_kwh],
                "most_per_lost_kwh": [None if one is None else float(one) for one in cut.per_lost_kwh],
            },
        }  # fmt: skip

    return {
        "schema": SCHEMA,
        "currency": found.currency,
        "year": asked.year,
        "growth": asked.growth,
        "rate": asked.rate,
        "tariff": asked.today.name,
        "apart": float(found.apart),
        "pooling_saves": None if found.pooling is None else float(found.pooling),
        "pooling_parts": (
            None if found.pooling is None else {str(k): float(found.pooled_parts()[k]) for k in Kind}
        ),
        "who": [
            {
                "name": who,
                "today": paid(now),
                "offers": [offer(who, one.name) for one in asked.offers],
            }
            for who, now in found.today.items()
        ],
    }  # fmt: skip

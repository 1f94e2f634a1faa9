"""`backtest.html`: what each policy would have saved over history, as one page that works offline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters._page import compose
from outweigh.backends.exporters._timetables import SOURCE_HEADINGS, source_rows
from outweigh.core.rounding import si, significant
from outweigh.registry import exporters


@exporters.register("backtest-html")
class BacktestHtmlExporter:
    """A back-test for people. Loads nothing from anywhere: a content security policy in the file forbids it."""

    name: ClassVar[str]

    def write(self, model: Mapping[str, object], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, render(model))


def render(doc: Mapping[str, Any]) -> str:
    """The page as text; `doc` is a back-test of schema outweigh.backtest/1."""
    money = doc["currency"]
    return compose(
        "backtest.html.j2",
        "backtest.js",
        doc=doc,
        data={key: doc[key] for key in ("policies", "weeks", "hours", "currency")},
        key_figures=[
            ("jobs", significant(doc["jobs"])),
            ("sites", ", ".join(doc["sites"])),
            ("planned on", doc["forecast"]),
            ("capacity", "kept by all" if doc.get("within_capacity") else "none declared"),
            ("price of carbon", f"{doc['carbon_price_per_tonne']:g} {money}/t"),
        ],
        headings=(
            "policy", "cost + carbon x its price", "saving", "interval", "of the oracle's", "cost", "carbon",
            "jobs late", "undone", "pauses", "moved",
        ),
        rules="within the capacity of the sites" if doc.get("within_capacity") else "as if the sites had room for all",
        rows=[_row(one, money) for one in doc["policies"]],
        source_headings=SOURCE_HEADINGS,
        source_rows=list(source_rows([
            {"name": one["name"], "zone": one["zone"], "sources": {key: one[key] for key in ("carbon", "price")}}
            for one in doc.get("sources", ())
        ])),
    )  # fmt: skip


def _row(one: Mapping[str, Any], money: str) -> tuple[str, ...]:
    low, high, oracle = one["saving_low_share"], one["saving_high_share"], one["oracle_share"]
    return (
        f"{one['policy']}: {one['what']}",
        f"{significant(one['objective'], 4)} {money}",
        _saved(one),
        "" if low is None else f"{100 * low:.1f} to {100 * high:.1f} %",
        "" if oracle is None else f"{100 * oracle:.0f} %",
        f"{significant(one['cost'], 4)} {money}",
        si(one["carbon_g"], "g") if one["carbon_g"] < 1e6 else f"{significant(one['carbon_g'] / 1e6)} t",
        str(one["late"]) if one["late"] else "none",
        str(one["undone"]) if one.get("undone") else "none",
        significant(one["pauses"]),
        significant(one["moved"]),
    )


def _saved(one: Mapping[str, Any]) -> str:
    if one["saving_share"] is None:
        return "not compared"
    return f"{100 * one['saving_share']:.1f} %" + (" (noise)" if one["noise"] else "")

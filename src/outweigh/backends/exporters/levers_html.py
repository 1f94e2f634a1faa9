"""`levers.html`: an abatement cost curve as one page that works offline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters._page import compose
from outweigh.core.rounding import fixed, plus_minus, si, significant
from outweigh.registry import exporters


@exporters.register("levers-html")
class LeversHtmlExporter:
    """A curve for people. Loads nothing from anywhere: a content security policy in the file forbids it."""

    name: ClassVar[str]

    def write(self, model: Mapping[str, object], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, render(model))


def render(doc: Mapping[str, Any]) -> str:
    """The page as text; `doc` is a curve of schema outweigh.levers/1."""
    money, base, total = doc["currency"], doc["base"], doc["total"]
    share = total["carbon_g"] / base["carbon_g"]
    return compose(
        "levers.html.j2",
        "levers.js",
        doc=doc,
        data={key: doc[key] for key in ("steps", "base", "total", "currency")},
        headline=f"{100 * share:.0f} % less" if doc["steps"] else "Nothing counts",
        key_figures=[
            ("a year now", f"{si(base['energy_j'] / 3600, 'Wh')}, {_mass(base['carbon_g'])}"),
            ("with all levers", _mass(base["carbon_g"] - total["carbon_g"])),
            ("added up one by one", f"{100 * total['summed_carbon_g'] / base['carbon_g']:.0f} %"),
            ("cost and saving a year", f"{fixed(total['cost'], 0)} and {fixed(total['saved'], 0)} {money}"),
        ],
        step_headings=("lever", "avoids a year", "energy", f"cost, {money}", f"saves, {money}",
                       f"{money}/t before savings", "net of savings", "basis"),
        step_rows=[
            ("do nothing", "0 t", "0 Wh", "0", "0", "", "", ""),
            *(_row(one) for one in doc["steps"]),
        ],
        try_headings=("lever", "where its figures are from", "try it"),
        try_rows=[(one["name"], one["source"], _command(one)) for one in doc["steps"]],
        passed_headings=("lever", "saves alone", "basis", "why it is not counted"),
        passed_rows=[
            (one["name"], f"{100 * (1 - one['carbon_ratio']):.1f} %", _basis(one), one["why"])
            for one in doc["passed_over"]
        ],
    )  # fmt: skip


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    tonnes, low, high = (one[key] / 1e6 for key in ("carbon_g", "carbon_low_g", "carbon_high_g"))
    return (
        one["name"],
        f"{plus_minus(tonnes, low, high) if low < high else significant(tonnes)} t",
        si(one["energy_j"] / 3600, "Wh"),
        fixed(one["cost"], 0),
        fixed(one["saved"], 0),
        fixed(one["gross_per_tonne"], 0),
        fixed(one["net_per_tonne"], 0),
        _basis(one),
    )


def _command(one: Mapping[str, Any]) -> str:
    command = one["command"] or ""
    return f"`{command}`" if command and "`" not in command else command


def _basis(one: Mapping[str, Any]) -> str:
    return f"{'measured' if one['measured'] else 'projected'}, grade {one['grade']}"


def _mass(grams: float) -> str:
    return f"{significant(grams / 1e6)} t"

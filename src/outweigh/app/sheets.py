"""Reports for people, each one sheet: the Monday digest, the roadmap, a business case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outweigh.app.files import find_ledger
from outweigh.core.constants import J_PER_WH
from outweigh.core.errors import UsageError
from outweigh.core.rounding import fixed, plus_minus, si
from outweigh.report.sheet import Row, Section, Sheet

if TYPE_CHECKING:
    from outweigh.app.whatif_finance import Financed
    from outweigh.core.project import Project

_WORDS = frozenset({3, 4, 5, 6})  # columns of the levers that hold text
_QUALITY = {True: "kept", False: "not shown to be kept", None: "not judged"}
_PARTS = ("allocated", "unallocated", "host", "cooling")
#: A waiver that ends within this is told of.
SOON = timedelta(days=30)


def digest(
    project_path: Path,
    *,
    ledger: Path | str | None = None,
    days: float = 7.0,
    review: Path | None = None,
    now: datetime | None = None,
) -> Sheet:
    """What to look at on Monday: the hum and whose it is, levers with a measured saving, budgets, waivers, estimates.

    Args:
        days: how far back the hum and the estimates look.
        review: a review.json whose levers are shown; by default those of the latest sitting in the ledger.

    Raises:
        ConfigError, UsageError: the project, its ledger or the review cannot be read; `days` is no period.
    """
    from outweigh.app.budgeting import budget_rows
    from outweigh.app.record import hum_rows
    from outweigh.config import load_project

    now = now or datetime.now(UTC)
    project = load_project(project_path)
    where = find_ledger(ledger, Path(project.root))
    hum = hum_rows(days, ledger=where, now=now, project=project.name)
    budgets = [row for row in budget_rows(project_path, ledger=where, now=now) if _at_risk(row)]
    waivers = _waivers(project, now)
    drift = _drift(project_path, where, days, now)
    levers = _levers(where, review, project)
    hum_j = sum(row["hum_j"] for row in hum)
    sections = (_hum(hum), levers, _budgets(budgets), waivers, drift)
    worries = [
        text
        for text in (
            f"{len(budgets)} budget lines at risk" if len(budgets) > 1 else "a budget line at risk" if budgets else "",
            f"{len(waivers.rows)} waivers to look at" if len(waivers.rows) > 1
            else "a waiver to look at" if waivers.rows else "",
        )
        if text
    ]  # fmt: skip
    first = f"The hum of the last {days:g} days was {si(hum_j / J_PER_WH, 'Wh')}" if hum else "No hum was measured"
    most = hum[0]["share_of_hum"] if len(hum) > 1 else 0.0
    whose = f", {'most' if most > 0.5 else f'{100 * most:.0f} %'} of it {hum[0]['owner'] or 'nobody'}'s" if most else ""
    return Sheet(
        report="digest",
        title=f"{project.name}: energy this week",
        lead=f"{first}{whose}; {' and '.join(worries) if worries else 'no budget line is at risk'}.",
        key=(
            ("hum", si(hum_j / J_PER_WH, "Wh") if hum else "not measured"),
            ("largest saving that keeps quality", _largest(levers)),
            ("budget lines at risk", str(len(budgets))),
            ("waivers to look at", str(len(waivers.rows))),
        ),
        sections=sections,
        calm=not worries,
        figures={"days": days, "hum_j": hum_j if hum else None, "budgets_at_risk": len(budgets)},
        notes=(
            "hum and budgets are IT energy, as metered; cooling stands beside the hum and is not in it",
            "a lever's saving is what was measured on this task and this machine",
        ),
    )


def _hum(rows: Sequence[dict[str, Any]]) -> Section:
    return Section(
        "hum", "Hum, by owner", ("owner", "hum", "share", *_PARTS, "runs without", "what to do"),
        [
            Row(
                (
                    row["owner"] or "nobody",
                    si(row["hum_j"] / J_PER_WH, "Wh"),
                    f"{100 * row['share_of_hum']:.0f} %",
                    *(_or_dash(row[f"hum_{part}_j"]) for part in _PARTS),
                    str(row["runs_without_hum"]),
                    row["action"],
                ),
                row,
            )
            for row in rows
        ],
        text=frozenset({8}), empty="No receipt of these days knows its idle draw: `outweigh measure` listens to it.",
        bar="hum_j", bar_label="hum [J]",
    )  # fmt: skip


def _or_dash(joules: float | None) -> str:
    return "-" if joules is None else si(joules / J_PER_WH, "Wh")


def _largest(levers: Section) -> str:
    """Nobody is told to look at a saving that costs quality."""
    kept = [row.figures["saving"] for row in levers.rows if row.figures["keeps_quality"]]
    if kept:
        return f"{100 * max(kept):.0f} %"
    return "none judged" if any(row.figures["keeps_quality"] is None for row in levers.rows) else "none"


def _levers(ledger: Path | str, review: Path | None, project: Project) -> Section:
    from outweigh.app.levers_measured import of_ledger, of_review

    columns = ("lever", "energy against the incumbent", "saves", "quality", "grade", "from", "try it")
    title, lead = "Levers with a measured saving", ""
    try:
        measured = of_review(review) if review is not None else of_ledger(ledger, project=project.name)
        if review is None and project.gate.incumbent in measured.levers:
            measured = of_ledger(ledger, incumbent=project.gate.incumbent, project=project.name)
    except UsageError as err:
        if review is not None:
            raise
        return Section("levers", title, columns, [], text=_WORDS, empty=str(err))
    lead = "; ".join(measured.notes)
    rows = []
    for name, lever in sorted(measured.levers.items(), key=lambda item: item[1].energy.value):
        ratio = lever.energy
        if lever.barred or ratio.high >= 1:  # no interval, or one that holds "no saving"
            continue
        shown = plus_minus(ratio.value, ratio.low, ratio.high)
        rows.append(
            Row(
                (name, f"{shown} times", f"{100 * (1 - ratio.value):.0f} %", _QUALITY[lever.keeps_quality],
                 lever.grade, lever.source,
                 f"`{lever.command}`" if lever.command else ""),
                {"lever": name, "energy_ratio": ratio.value, "energy_ratio_low": ratio.low,
                 "energy_ratio_high": ratio.high, "saving": 1 - ratio.value, "grade": lever.grade,
                 "source": lever.source, "keeps_quality": lever.keeps_quality},
            )
        )  # fmt: skip
    none = f"{len(measured.levers)} were measured against {measured.incumbent}, and none is sure to save."
    return Section(
        "levers", title, columns, rows, lead=lead, text=_WORDS, empty=none, bar="saving",
        bar_label="share of energy saved",
    )  # fmt: skip


def _at_risk(row: dict[str, Any]) -> bool:
    return row["state"] != "ok" or (row["exhausted_probability"] or 0.0) > 0.5


def _budgets(rows: Sequence[dict[str, Any]]) -> Section:
    from outweigh.app.budgeting import budget_sentences, in_wh, limit_text

    return Section(
        "budgets", "Budgets at risk", ("line", "state", "limit", "drawn", "used up", "owner", "why"),
        [
            Row(
                (
                    row["budget"],
                    row["state"],
                    limit_text(row),
                    in_wh(row["drawn_j"], (row["drawn_high_j"] - row["drawn_low_j"]) / 2),
                    "-" if row["exhausted_at"] is None else row["exhausted_at"][:10],
                    row["owner"] or "-",
                    "; ".join(budget_sentences(row)),
                ),
                {key: value for key, value in row.items() if key != "burn_rates"},
            )
            for row in rows
        ],
        text=frozenset({1, 5, 6}), empty="Every line is inside its limit.",
    )  # fmt: skip


def _waivers(project: Project, now: datetime) -> Section:
    due = sorted((one for one in project.waivers if one.expires <= now + SOON), key=lambda one: one.expires)
    rows = []
    for one in due:
        left = (one.expires - now).total_seconds() / 86_400
        rows.append(
            Row(
                (one.proposal, f"{one.expires:%Y-%m-%d}", "expired" if left <= 0 else f"{left:.0f} d", one.owner,
                 one.reason),
                {"proposal": one.proposal, "expires": one.expires.isoformat(), "days_left": left, "owner": one.owner,
                 "reason": one.reason, "verdict": one.verdict},
            )
        )  # fmt: skip
    return Section(
        "waivers", f"Waivers that end within {SOON.days} days", ("proposal", "expires", "left", "owner", "reason"),
        rows, text=frozenset({1, 3, 4}), empty="None ends soon.",
    )  # fmt: skip


def _drift(project: Path, ledger: Path | str, days: float, now: datetime) -> Section:
    """What was thought of a run or a feature, against what its receipts say."""
    rows = [*_drift_of_roadmap(project, ledger, now), *_drift_of_estimates(days, now)]
    return Section(
        "drift", "Estimates against receipts", ("what", "measured over estimated", "grade", "estimate from"), rows,
        lead="1 is an estimate that held.", text=frozenset({2, 3}),
        empty="No estimate was held against a receipt: `outweigh estimate --reconcile`, or a feature of the roadmap.",
    )  # fmt: skip


def _drift_of_roadmap(project: Path, ledger: Path | str, now: datetime) -> Iterator[Row]:
    from outweigh.app.roadmapping import roadmap_rows

    seen = set()
    for row in roadmap_rows(project, ledger=ledger, now=now):
        ratio = row["measured_over_planned"]
        if ratio is None or row["feature"] in seen:
            continue
        seen.add(row["feature"])
        low, high = row["measured_over_planned_low"], row["measured_over_planned_high"]
        yield Row(
            (row["feature"], plus_minus(ratio, low, high), row["grade"] or "-", row["planned_source"]),
            {"what": row["feature"], "ratio": ratio, "ratio_low": low, "ratio_high": high, "grade": row["grade"],
             "source": row["planned_source"]},
        )  # fmt: skip


def _drift_of_estimates(days: float, now: datetime) -> Iterator[Row]:
    from outweigh.data.learned import kept_rows

    for one in kept_rows():
        at = datetime.fromisoformat(one.at)
        if not timedelta() <= now - at <= timedelta(days=days):
            continue
        half = 2 * one.relative * one.ratio
        yield Row(
            (one.key, plus_minus(one.ratio, one.ratio - half, one.ratio + half), str(one.grade),
             "outweigh estimate, this user's"),
            {"what": one.key, "ratio": one.ratio, "ratio_low": one.ratio - half, "ratio_high": one.ratio + half,
             "grade": str(one.grade), "source": "outweigh estimate, this user's", "at": one.at},
        )  # fmt: skip


def roadmap(project_path: Path, *, ledger: Path | str | None = None, now: datetime | None = None) -> Sheet:
    """The roadmap, feature by quarter. Raises as `roadmapping.roadmap_rows` does."""
    from outweigh.app.roadmapping import HEADINGS, roadmap_rows, roadmap_sentences, roadmap_table
    from outweigh.config import load_project

    name = load_project(project_path).name
    rows = roadmap_rows(project_path, ledger=ledger, now=now)
    features = len({row["feature"] for row in rows})
    measured = len({row["feature"] for row in rows if row["state"] == "measured"})
    return Sheet(
        report="roadmap",
        title=f"{name}: roadmap of energy",
        lead=f"{features} features, {measured} of them measured; the others are estimates of grade D."
        if rows else "No feature is planned from this quarter on.",
        key=(("features", str(features)), ("measured", str(measured))),
        sections=(
            Section(
                "roadmap", "Feature by quarter", HEADINGS,
                [Row(cells, row) for cells, row in zip(roadmap_table(rows), rows, strict=True)],
                text=frozenset({1, 2, 10}), empty="energy.toml has no [[roadmap]] from this quarter on.",
            ),
        ),
        figures={"features": features, "measured": measured},
        notes=tuple(roadmap_sentences(rows)),
    )  # fmt: skip


def finance_sheet(path: Path, *, scenarios: int = 1000, seed: int = 0, option: str = "", bars: int = 10) -> Sheet:
    """A business case as a sheet. Raises as `whatif_finance.finance` does."""
    from outweigh.app.whatif_finance import finance

    found = finance(path, scenarios=scenarios, seed=seed, option=option, bars=bars)
    document = found.document
    ways = document["ways"]
    best = max(ways, key=lambda way: way["gain"])
    money = document["currency"]
    sections = [
        Section(
            "ways", "Gain over doing nothing", ("way", f"present value, {money}", "gain", "grade"),
            [
                Row(
                    (way["way"], fixed(way["present_value"], 0), fixed(way["gain"], 0), way["grade"] or "-"),
                    {key: value for key, value in way.items() if not isinstance(value, list)} | {"currency": money},
                )
                for way in ways
            ],
            text=frozenset({3}), bar="gain", bar_label=f"gain over doing nothing, {money}",
        ),
        *_of_case(found),
    ]  # fmt: skip
    gain = f"{fixed(best['gain'], 0)} {document['currency']}"
    return Sheet(
        report="finance",
        title=f"Business case over {document['years']} years",
        lead=f"{best['way']} gains {gain} over doing nothing, at {100 * document['rate']:g} % a year."
        if best["gain"] > 0 else "Doing nothing is the cheapest of what was declared.",
        key=tuple((way["way"], f"{fixed(way['present_value'], 0)} {document['currency']}") for way in ways),
        sections=tuple(sections),
        figures=document,
        notes=(*found.lines, *found.notes),
        sources=(str(document["source"]),) if document["source"] else (),
    )  # fmt: skip


def _of_case(found: Financed) -> Iterator[Section]:
    """The tables of a case, with its full figures where the document has them."""
    document = found.document
    cash = [
        {
            "year": year,
            **{f"{way['way']}, cash in {document['currency']}": way["cash"][year] for way in document["ways"]},
        }
        for year in range(document["years"] + 1)
    ]
    for name, (title, headings, rows) in zip(("summary", "cash-flow", "tornado"), found.tables, strict=False):
        figures: Sequence[dict[str, Any]] = [{} for _ in rows]
        if name == "cash-flow" and len(rows) == len(cash):
            figures = cash
        elif name == "tornado":
            figures = next((bars for bars in document["tornado"].values() if _is_of(bars, rows)), figures)
        yield Section(
            name, title[:1].upper() + title[1:] if title else "In short",
            tuple(heading or "what" for heading in headings),
            [Row(tuple(row), own) for row, own in zip(rows, figures, strict=True)], empty="",
            text=frozenset({1}) if name == "tornado" else frozenset(),
        )  # fmt: skip


def _is_of(bars: Sequence[dict[str, Any]], rows: Sequence[Sequence[str]]) -> bool:
    """Whether bars are those the rows were made of: as many, of the same inputs and figures."""
    return len(bars) == len(rows) and all(
        bar["input"].endswith(row[1]) and fixed(bar["swing"], 0) == row[-1] for bar, row in zip(bars, rows, strict=True)
    )

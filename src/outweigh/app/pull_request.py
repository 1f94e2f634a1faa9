"""Weigh a pull request: both revisions measured interleaved on this machine, on the base's terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from outweigh import __version__
from outweigh.app.files import check_writable
from outweigh.app.judging import Judged, sit_and_weigh
from outweigh.app.pr_checkouts import Side, checkouts, contains
from outweigh.app.pr_proxies import proxies
from outweigh.app.pr_sides import Case, baseline_part, case_of
from outweigh.app.review import document_of, with_rounds
from outweigh.app.sitting import Progress, Sat, silent
from outweigh.core.errors import OutweighError
from outweigh.core.measurement import Missing, utc
from outweigh.core.verdict import Outcome, Verdict
from outweigh.gate import part_name
from outweigh.ledger import default_path
from outweigh.registry import exporters

#: What a weighed pull request leaves in its folder: file name -> exporter.
GATE_FILES = {
    "comment.md": "comment", "gate.json": "json", "junit.xml": "junit", "gate.sarif": "sarif", "report.html": "html",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """What came of it.

    Attributes:
        judged: the verdict under the base's waivers; None when the head proposes nothing.
        document: the review document with the keys `weighing` and `pull_request`.
    """

    judged: Judged | None
    document: Mapping[str, object]

    @property
    def exit_code(self) -> int:
        return 0 if self.judged is None else self.judged.exit_code

    @property
    def may_block(self) -> bool:
        """Whether the evidence is good enough, and the base's gate set, to keep the head from being merged."""
        return self.judged is not None and not self.judged.waived.waived and self.judged.verdict.may_block


def weigh_pull_request(
    project_path: Path,
    base: str,
    head: str,
    *,
    number: int | None = None,
    shown_head: str = "",
    ledger: Path | str | None = None,
    meter: str | None = None,
    rounds: int | None = None,
    progress: Progress = silent,
) -> Weighed:
    """Measure what the head proposes against what the base has in service, and weigh it on the base's terms.

    Args:
        project_path: energy.toml or its folder, in a clone that has both revisions.
        base, head: branches, tags or commits. Policy, budgets, task, protocol, sites and incumbent are the base's;
            variants are taken from each side's own checkout.
        number: of the pull request, for the comment.
        shown_head: the commit people know the head by, where `head` is a merge that the runner made.
        ledger: file or URL; that of the project in this clone by default. Receipts outlive the checkouts.

    Raises:
        OutweighError: with the exit code and remedy of what went wrong.
    """
    now = datetime.now(UTC)
    folder = project_path.parent if project_path.is_file() else project_path
    where = ledger if ledger is not None else default_path(folder)
    with checkouts(project_path, base, head) as (ours, theirs):
        case = case_of(ours, theirs)
        about = _about(case, ours, theirs, number, shown_head, contains(project_path, theirs.commit, ours.commit))
        if not case.names:
            return Weighed(None, _nothing(case, about, now))
        project = with_rounds(case.project, rounds)
        done = sit_and_weigh(
            project, case.names, where, meter=meter, progress=progress,
            held=lambda verdict: held_to_baseline(verdict, case),
        )  # fmt: skip
        document = document_of(done, Missing("plan", "a pull request is weighed, not planned"))
        sat, verdict = done.sat, done.verdict
        counted, uncounted = proxies(sat, verdict.incumbent, verdict.proposal)
        about |= {
            "proxies": [
                {"name": one.name, "unit": one.unit, "base": one.base, "head": one.head, "ratio": one.ratio,
                 "warns": one.warns, "how": one.how}
                for one in counted
            ],
            "not_run": [*_not_run(case, sat, verdict), *(f"proxy {each}" for each in uncounted)],
        }  # fmt: skip
    return Weighed(done.judged, document | {"pull_request": about})


def held_to_baseline(verdict: Verdict, case: Case) -> Verdict:
    """A baseline that the head changes and does not propose keeps a pass from being one."""
    if not case.unweighed_baseline:
        return verdict
    part = baseline_part(case.unweighed_baseline)
    verdict = replace(verdict, parts=(*verdict.parts, part))
    if verdict.outcome is not Outcome.PASS:
        return verdict
    advice = "propose what is to be in service, or change the baseline in a pull request of its own"
    return replace(verdict, outcome=Outcome.INCONCLUSIVE, decided_by=part.part, distance=None, advice=advice)


def write_gate_files(document: Mapping[str, object], folder: Path) -> tuple[Path, ...]:
    """Write comment.md, gate.json, junit.xml, gate.sarif and report.html. Raises OutputError."""
    check_writable(folder)
    paths = []
    for file, exporter in GATE_FILES.items():
        if exporter == "html" and "verdict" not in document:
            continue
        path = folder / file
        exporters.get(exporter)().write(document, path)
        paths.append(path)
    return tuple(paths)


def no_verdict(error: OutweighError, name: str, base: str, head: str, number: int | None) -> dict[str, object]:
    """The document of a pull request that could not be weighed, so that an older verdict does not stay on the page."""
    return {
        "schema": 1, "kind": "outweigh.review", "created": utc(datetime.now(UTC)), "outweigh_version": __version__,
        "project": {"name": name},
        "pull_request": {
            "base": {"ref": base, "commit": base}, "head": {"ref": head, "commit": head}, "number": number,
            "policy_changes": [], "changed": [], "not_run": [],
            "no_verdict": {"reason": str(error), "exit_code": error.exit_code, "kind": type(error).__name__},
        },
    }  # fmt: skip


def _nothing(case: Case, about: dict[str, object], now: datetime) -> dict[str, object]:
    return {
        "schema": 1, "kind": "outweigh.review", "created": utc(now), "outweigh_version": __version__,
        "project": {"name": case.project.name}, "pull_request": about,
    }  # fmt: skip


def _about(case: Case, base: Side, head: Side, number: int | None, shown_head: str, up_to_date: bool) -> dict[str, Any]:
    return {
        "number": number,
        "base": {"ref": base.ref, "commit": base.commit},
        "head": {"ref": head.ref, "commit": shown_head or head.commit, "checked_out": head.commit},
        "folder": base.inside,
        "up_to_date": up_to_date,
        "changed": list(case.changed),
        "policy_changes": [{"key": one.key, "base": one.base, "head": one.head} for one in case.policy],
        "lines": dict(case.lines),
        "proxies": [],
        "not_run": [],
    }


def _not_run(case: Case, sat: Sat, verdict: Verdict) -> list[str]:
    """What a reader might take for done."""
    found = [f"{name}: {reason}" for name, reason in sat.failed.items()]
    if case.passed_over:
        found.append(f"the base's own {', '.join(case.passed_over)}: the head's was measured")
    found += [f"test {part_name(part)}: {part.explanation}" for part in verdict.parts if not part.binding]
    better = [other.name for other in sat.passed_over if other.grade is not None]
    if verdict.provisional and better:
        found.append(f"meters that are not usable here: {', '.join(better)}")
    found.append("training and development of the head's models: not part of this run")
    found.append("a plan of where and when to serve it: `outweigh plan`")
    return found

"""A pull request on a runner: weigh it, leave files, say it where people look, and end with the verdict's code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from outweigh.app.pr_api import CommentNotPosted
from outweigh.app.pr_forge import Posted, Request, finished_head, post, read_comment, request_from
from outweigh.app.pull_request import Weighed, no_verdict, weigh_pull_request, write_gate_files
from outweigh.app.sitting import Progress, silent
from outweigh.config import load_project
from outweigh.core.errors import ConfigError, MissingExtra, OutputError, OutweighError, UsageError

#: Where the files of a weighed pull request go, in the current folder.
OUT = "outweigh-gate"
COMMENT = "comment.md"


@dataclass(frozen=True, slots=True, eq=False)
class Ran:
    """`exit_code` is the verdict's, or 0 for one that may not block where only blocking ones were asked for."""

    weighed: Weighed
    paths: tuple[Path, ...]
    posted: Posted | None
    exit_code: int


def run_pull_request(
    project_path: Path,
    *,
    environment: Mapping[str, str],
    base: str = "",
    head: str = "",
    number: int | None = None,
    out: Path = Path(OUT),
    comment: bool = False,
    login: str = "",
    only_blocking: bool = False,
    ledger: Path | str | None = None,
    meter: str | None = None,
    rounds: int | None = None,
    progress: Progress = silent,
    tell: Callable[[str], None] = lambda _said: None,
) -> Ran:
    """Weigh the pull request that the environment tells of, or the one that is named.

    A comment that cannot be posted stays in its file, and the exit code is still the verdict's. A pull request that
    could not be weighed leaves its files and its comment too, and then the error is raised.

    Args:
        environment: of the process: what CI systems say, and where they want a summary and outputs.
        out: folder for comment.md, gate.json, junit.xml, gate.sarif and report.html.
        comment: post the comment, where there is a pull request to post it on.
        login: whose comments are ours, where no bot posts them.
        only_blocking: end with 0 for a verdict that may not block a merge.
        tell: takes what a person should know and is no result.

    Raises:
        OutweighError: with the exit code and remedy of what went wrong.
    """
    request = request_from(environment)
    base, head = base or (request.base if request else ""), head or (request.head if request else "")
    if not base or not head:
        raise UsageError("nobody says which revisions to weigh", "Give --base and --head: branches, tags or commits")
    number = number if number is not None or request is None else request.number
    try:
        weighed = weigh_pull_request(
            project_path, base, head, number=number, shown_head=request.shown_head if request else "",
            ledger=ledger, meter=meter, rounds=rounds, progress=progress,
        )  # fmt: skip
    except OutweighError as err:
        document = no_verdict(err, _name(project_path), base, head, number)
        _leave(document, out, environment, tell)
        _give(environment, {"outcome": "none", "exit-code": str(err.exit_code), "may-block": "true"}, tell)
        if comment:
            _say(request, out, number, login, tell)
        raise
    paths = _leave(weighed.document, out, environment, tell)
    posted = _say(request, out, number, login, tell) if comment else None
    exit_code = weighed.exit_code if weighed.may_block or not only_blocking else 0
    verdict = cast("dict[str, Any]", weighed.document.get("verdict", {}))
    _give(
        environment,
        {
            "outcome": str(verdict.get("outcome", "nothing to weigh")), "exit-code": str(weighed.exit_code),
            "may-block": "true" if weighed.may_block else "false", "comment-file": str(out / COMMENT),
            "posted": "true" if posted else "false",
        },
        tell,
    )  # fmt: skip
    return Ran(weighed, paths, posted, exit_code)


def post_file(
    path: Path,
    *,
    environment: Mapping[str, str],
    number: int | None = None,
    login: str = "",
) -> Posted:
    """The second of two steps: post a comment that a run without the right to do so has left in a file.

    In a `workflow_run` job the pull request must be at the commit that the finished run was for: the file comes from
    that run, and a fork's run may write anything into it.

    Raises:
        UsageError: it is no comment of ours, or not of this pull request.
        CommentNotPosted: the forge cannot be reached, or refuses.
    """
    request = request_from(environment)
    if request is None:
        raise UsageError("nobody says which forge to post to", "Run it in a job of GitHub Actions or GitLab CI")
    comment = read_comment(path)
    given = number if number is not None else request.number
    return post(_of(request, given), comment, login=login, only_head=finished_head(environment))


def _of(request: Request, number: int | None) -> Request:
    return replace(request, number=number)


def _say(
    request: Request | None, out: Path, number: int | None, login: str, tell: Callable[[str], None]
) -> Posted | None:
    """Post the comment; what keeps it from being posted is told, and changes nothing of the verdict."""
    if request is None or number is None:
        tell(f"there is no pull request to comment on; the comment is in {out / COMMENT}")
        return None
    try:
        return post(_of(request, number), read_comment(out / COMMENT), login=login)
    except (CommentNotPosted, MissingExtra, UsageError) as err:
        tell(f"{err} The comment is in {out / COMMENT}")
        return None


def _leave(
    document: Mapping[str, object], out: Path, environment: Mapping[str, str], tell: Callable[[str], None]
) -> tuple[Path, ...]:
    paths = write_gate_files(document, out)
    if summary := environment.get("GITHUB_STEP_SUMMARY"):
        # Without its two lines for machines, it is the summary of the job.
        text = (out / COMMENT).read_text(encoding="utf-8").split("\n", 2)[2]
        _append(Path(summary), f"{text}\n", tell)
    return paths


def _give(environment: Mapping[str, str], values: Mapping[str, str], tell: Callable[[str], None]) -> None:
    """Give values to later steps of a GitHub job; nothing elsewhere."""
    if path := environment.get("GITHUB_OUTPUT"):
        _append(Path(path), "".join(f"{name}={value}\n" for name, value in values.items()), tell)


def _append(path: Path, text: str, tell: Callable[[str], None]) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as err:
        tell(str(OutputError(str(path), err.strerror or str(err), "The verdict stands without it")))


def _name(project_path: Path) -> str:
    """The name that the comment goes by, as far as it can be known before anything else is."""
    try:
        return load_project(project_path).name
    except ConfigError:
        folder = project_path.parent if project_path.is_file() else project_path
        return folder.resolve().name

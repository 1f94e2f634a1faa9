"""Two revisions of one repository side by side, in git worktrees that are gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from outweigh.core.errors import UsageError

_REMEDY = "Name a branch, tag or commit that this clone has; on a runner check out with the whole history"


@dataclass(frozen=True, slots=True)
class Side:
    """One revision, checked out.

    Attributes:
        name: "base" or "head".
        ref, commit: what was asked for, and the commit it stands for [hex].
        folder: the project's folder in the checkout.
        inside: the same folder relative to the repository's root, "" for the root itself.
    """

    name: str
    ref: str
    commit: str
    folder: Path
    inside: str

    @property
    def title(self) -> str:
        return f"{self.name} {self.commit[:10]}"


@contextmanager
def checkouts(project: Path, base: str, head: str) -> Iterator[tuple[Side, Side]]:
    """Check out both revisions in a temporary folder; both are removed on the way out, on Ctrl-C too.

    Args:
        project: energy.toml or its folder, inside the repository.
        base, head: branches, tags or commits.

    Raises:
        UsageError: git is missing, this is no repository, or a revision is not known.
    """
    folder = project.parent if project.is_file() else project
    inside = _git(folder, "rev-parse", "--show-prefix").strip("/")
    commits = {name: _commit(folder, ref) for name, ref in (("base", base), ("head", head))}
    # The trees themselves go into folders of the temporary one; where it lies is nobody's business afterwards.
    parent = Path(tempfile.mkdtemp(prefix="outweigh-pull-request-")).resolve()
    trees = {name: parent / name for name in commits}
    try:
        for name, tree in trees.items():
            # A hook of this clone has no say in what is measured.
            _git(folder, "-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--detach", "--quiet", str(tree),
                 commits[name])  # fmt: skip
        yield (
            Side("base", base, commits["base"], trees["base"] / inside, inside),
            Side("head", head, commits["head"], trees["head"] / inside, inside),
        )
    finally:
        left = [_quiet(folder, "worktree", "remove", "--force", "--force", str(tree)) for tree in trees.values()]
        shutil.rmtree(parent, ignore_errors=True)
        if any(left):
            # An interrupt in the midst of `add` leaves an entry without a tree, which `remove` does not know.
            _quiet(folder, "worktree", "prune", "--expire", "now")


def contains(project: Path, head: str, base: str) -> bool:
    """Whether `head` has everything that `base` has."""
    folder = project.parent if project.is_file() else project
    return _quiet(folder, "merge-base", "--is-ancestor", base, head) == 0


def _commit(folder: Path, ref: str) -> str:
    # A ref that begins with "-" must not become an option.
    return _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", about=ref).strip()


def _git(folder: Path, *arguments: str, about: str = "") -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, env=_environment()
        )
    except FileNotFoundError as err:
        raise UsageError("git is not installed", "Install it: a pull request is weighed from two checkouts") from err
    if done.returncode == 0:
        return done.stdout.rstrip("\n")
    if about:
        raise UsageError(f"there is no commit {about!r} in the repository of {folder}", _REMEDY)
    said = " ".join(done.stderr.split()) or f"git {arguments[0]} ended with {done.returncode}"
    raise UsageError(f"git: {said}", "Run it inside a git repository that you may write to")


def _quiet(folder: Path, *arguments: str) -> int:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, env=_environment()
    )
    return done.returncode


def _environment() -> dict[str, str]:
    """As it is, less what a hook or a surrounding git command has set: the folder says which repository is meant."""
    surrounding = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    kept = {name: value for name, value in os.environ.items() if name not in surrounding}
    return kept | {"GIT_TERMINAL_PROMPT": "0"}

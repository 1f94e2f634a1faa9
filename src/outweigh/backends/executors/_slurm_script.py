"""The batch script of a job: the command as it was typed, behind the lines that leave a record of its begin and end.

A command that begins with `sbatch` is taken apart: its options stay its options, the #SBATCH lines of its script stay
in front, and the script is copied, as sbatch itself would copy it.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outweigh.backends.executors._slurm_tools import NAME
from outweigh.backends.executors._slurm_turns import WRAPPER
from outweigh.core.errors import JobRefused
from outweigh.core.jobs import JobRequest

# Held where it saved because it was told to, queued again where it only gives way. Being requeued ends this script,
# within KillWait. A controller that is away is asked again; one that has started the job anew meanwhile is not, for
# that would put the new one back. Where the command is not allowed or not there, RequeueExit may know the exit code.
_AFTER: Final = """
if [ "$code_" = {saved} ] && [ ! -e "$record_.left" ]; then
  again_=requeue; [ "$told_" = 0 ] || again_=requeuehold
  tries_=0
  while [ "$tries_" -lt 60 ] && [ "$term_" = 0 ]; do
    [ -z "$turn_" ] || ! superseded_ || break
    if scontrol "$again_" "$SLURM_JOB_ID"; then sleep 600; break; fi
    tries_=$((tries_ + 1))
    sleep 1
  done
fi
exit "$code_"
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What `sbatch` was given: its options, the script's #SBATCH lines, and what it runs.

    Attributes:
        constraint: what it asks of nodes. comment, open_mode: its own. Empty where it says nothing.
        requeue: whether it may be started again; None where it leaves that to the cluster.
    """

    options: tuple[str, ...]
    lines: tuple[str, ...]
    command: tuple[str, ...]
    constraint: str = ""
    comment: str = ""
    open_mode: str = ""
    requeue: bool | None = None


def taken_apart(request: JobRequest, copy: Path) -> Asked:
    """The command of a request; a script that it names is copied to `copy`, and from then on the copy counts.

    Raises:
        JobRefused: `sbatch` without a script that can be read.
    """
    command = request.command
    if Path(command[0]).name != "sbatch":
        return Asked((), (), command)
    cwd = Path(request.cwd) if request.cwd else Path()
    for position, word in enumerate(command[1:], 1):
        if word == "--wrap" or word.startswith("--wrap="):
            text, after = (
                (word[7:], position + 1)
                if "=" in word
                else ("".join(command[position + 1 : position + 2]), position + 2)
            )
            return _asked(request, (*command[1:position], *command[after:]), (), ("/bin/sh", "-c", text))
        script = _script(cwd / word)
        if script is not None:
            script = _script(copy) or script
            copy.write_text(script, encoding="utf-8", errors="surrogateescape")
            copy.chmod(0o700)
            return _asked(request, command[1:position], _directives(script), (str(copy), *command[position + 1 :]))
    raise JobRefused(NAME, request.key, "sbatch is given no script that begins with #!", "Name a script, or --wrap")


def batch_script(request: JobRequest, asked: Asked, prefix: Path) -> str:
    checkpoint = request.checkpoint
    given = [
        checkpoint.signal if checkpoint else "",
        request.cwd,
        *asked.command,
    ]
    # Every task of an array completes for itself.
    where = shlex.quote(str(prefix)) + '"${SLURM_ARRAY_TASK_ID:+.task$SLURM_ARRAY_TASK_ID}"'
    attempt = '"$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}"'
    named = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in request.environment)
    return "".join(
        (
            "#!/bin/sh\n",
            "".join(f"{line}\n" for line in asked.lines),
            f"{named}export OUTWEIGH_JOB={shlex.quote(request.key)} OUTWEIGH_RESTARTS=${{SLURM_RESTART_COUNT:-0}}\n",
            f"set -- {where} {attempt} {' '.join(map(shlex.quote, given))}\n",
            WRAPPER,
            _AFTER.format(saved=checkpoint.saved_exit) if checkpoint else 'exit "$code_"\n',
        )
    )


def _script(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else ""
    except (OSError, ValueError):
        return None
    return text if text.startswith("#!") else None


def _directives(text: str) -> tuple[str, ...]:
    """Lines that sbatch reads: those before the first that is neither blank nor a comment."""
    found = []
    for line in text.splitlines()[1:]:
        if line.strip() and not line.lstrip().startswith("#"):
            break
        if line.startswith("#SBATCH"):
            found.append(line)
    return tuple(found)


def _asked(request: JobRequest, options: tuple[str, ...], lines: tuple[str, ...], command: tuple[str, ...]) -> Asked:
    """With what it wishes of what we set too: the command line has the last word, as with sbatch itself."""
    words: list[str] = []
    for line in lines:
        try:
            words += shlex.split(line.removeprefix("#SBATCH"), comments=True)
        except ValueError as err:
            raise JobRefused(NAME, request.key, f"its line {line!r} cannot be read ({err})", "Mend its quotes") from err
    words += options
    requeue = [word == "--requeue" for word in words if word in ("--requeue", "--no-requeue")]
    return Asked(
        options, lines, command, _said(words, "--constraint", "-C"), _said(words, "--comment"),
        _said(words, "--open-mode"), requeue[-1] if requeue else None,
    )  # fmt: skip


def _said(words: list[str], long: str, short: str = "") -> str:
    """The last value that an option is given.

    >>> _said(["-Cgpu", "--constraint", "a100"], "--constraint", "-C"), _said(["--nice"], "--comment")
    ('a100', '')
    """
    found = ""
    for position, word in enumerate(words):
        if word.startswith(f"{long}="):
            found = word.removeprefix(f"{long}=")
        elif word in (long, short):
            found = words[position + 1] if position + 1 < len(words) else ""
        elif short and word.startswith(short):
            found = word.removeprefix(short)
    return found

"""The few lines of shell that stand between a scheduler and a job's command, and leave a record of its start and end.

A scheduler may forget how a job ended (Slurm after MinJobAge, a machine after a re-parented child), or say that it
still runs when it has ended (Slurm's controller after a crash). The record knows, for it is written where the job ran.

Only what cannot be kept by the scheduler is in it, two files an attempt beside each other:

    PREFIX.ATTEMPT.begin   seconds since the epoch, host name, process id, its start [clock ticks since boot]
    PREFIX.ATTEMPT.end     seconds since the epoch, exit code, 1 where the signal to save had come, 1 where SIGTERM had
    PREFIX.done            it is there when an attempt has completed; not where SIGTERM had come, for then 0 may only
                           mean that it stopped well

The signal to save goes to the command alone, as `scancel --batch` sends it: what the command started may not know it.
A job that has completed is not run again, whoever starts it, nor is an attempt that has begun. With `bound` it ends,
besides, when the process that started it does. Slurm's jobs have a wrapper of their own, of the same parts: their
attempts may be started twice (`_slurm_turns`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

#: Signals and marks. The command decides what it does about SIGTERM; the record of its end must be written.
HEAD: Final = r"""
told_=0 term_=0 child_= code_= watch_=
trap term_=1 TERM
[ -z "$signal_" ] || trap 'told_=1; [ -z "$child_" ] || kill -s "$signal_" "$child_" 2>/dev/null' "$signal_"
stat_() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null; } # from the state on; a name may hold anything
ticks_() { stat_ "$1" | cut -d' ' -f20; }
began_() { printf '%s %s %s %s\n' "$(date +%s.%N)" "$(uname -n)" $$ "$(ticks_ $$)"; }
end_() { printf '%s %s %s %s\n' "$at_" "$code_" "$told_" "$term_" > "$1.new" && mv -f "$1.new" "$1"; }
"""

#: Runs the command, and ends it when `leave_` says so; `left_` is called before.
RUN: Final = r"""
if [ -n "$folder_" ] && ! cd "$folder_"; then code_=126; else
  "$@" <&0 &
  child_=$!
  # A signal that came before there was anybody to hear it.
  [ "$told_" = 0 ] || kill -s "$signal_" "$child_" 2>/dev/null
  [ "$term_" = 0 ] || kill -s TERM "$child_" 2>/dev/null
  if [ -n "$leave_" ]; then
    (
      trap - TERM
      trap '' HUP INT USR1 USR2 # whoever signals everything means the command
      nap_=0.1
      while sleep "$nap_" || sleep 2; do
        case $nap_ in 0.1) nap_=0.3 ;; 0.3) nap_=1 ;; *) nap_=2 ;; esac
        "$leave_" || continue
        "$left_"
        kill -s TERM "$child_" && sleep 5 && kill -s KILL "$child_"
        exit
      done
    ) 2>/dev/null &
    watch_=$!
  fi
  # A trapped signal ends `wait` while the command goes on.
  while :; do
    wait "$child_"; code_=$?
    kill -0 "$child_" 2>/dev/null || break
  done
fi
"""

#: POSIX shell. Arguments: prefix of the records, attempt, "once" or "bound", signal to save or "", folder to run in or
#: "", command and its arguments. `code_` is what it ends with; whoever embeds it ends by it.
WRAPPER: Final = (
    r"""
all_=$1 record_=$1.$2 once_=$3 signal_=$4 folder_=$5; shift 5
"""
    + HEAD
    + r"""
if [ -e "$all_.done" ]; then exit 0; fi
# A folder that cannot be written to must not stop the job.
if ! { (set -C; began_ > "$record_.begin") 2>/dev/null; } && [ -e "$record_.begin" ]; then exit 0; fi
orphaned_() { ! kill -0 $PPID 2>/dev/null; }
leave_= left_=true
[ "$once_" != bound ] || leave_=orphaned_
"""
    + RUN
    + r"""
[ -z "$watch_" ] || kill "$watch_" 2>/dev/null
at_=$(date +%s.%N)
{ [ "$code_$term_" != 00 ] || true > "$all_.done"; end_ "$record_.end"; } 2>/dev/null
"""
)

_STAMP: Final = re.compile(r"(\d+)(?:\.(\d+))?\D*")


@dataclass(frozen=True, slots=True)
class Begin:
    """`started` is the kernel's start of the process `pid` [clock ticks since boot]; 0 where it does not say."""

    at: datetime
    host: str
    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class End:
    """`told`: the signal to save had come; `terminated`: SIGTERM had."""

    at: datetime
    exit_code: int
    told: bool = False
    terminated: bool = False


def read_begin(prefix: Path, attempt: str) -> Begin | None:
    words = _words(prefix, attempt, "begin")
    at = _at(words)
    if at is None or len(words) < 3 or not words[2].isdecimal():
        return None
    return Begin(at, words[1], int(words[2]), int(words[3]) if len(words) > 3 and words[3].isdecimal() else 0)


def read_end(prefix: Path, attempt: str) -> End | None:
    return _end(_words(prefix, attempt, "end"))


def _end(words: list[str]) -> End | None:
    at = _at(words)
    if at is None or len(words) < 4 or not words[1].isdecimal():
        return None
    return End(at, int(words[1]), words[2] == "1", words[3] == "1")


def _words(prefix: Path, attempt: str, what: str) -> list[str]:
    return _lines(prefix.with_name(f"{prefix.name}.{attempt}.{what}"))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").split()
    except OSError:
        return []


def _at(words: list[str]) -> datetime | None:
    match = _STAMP.fullmatch(words[0]) if words else None
    if match is None:
        return None
    # Where `date` knows no %N there are no digits to take.
    return datetime.fromtimestamp(int(match[1]) + float(f"0.{match[2] or 0}"), UTC)

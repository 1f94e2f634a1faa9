"""Turns: how attempts of one Slurm job keep out of each other's way, though the controller may start one twice.

A slurmctld that is killed forgets what it did in its last seconds. It starts a job anew that runs already, under the
same id and restart count, or gives the id to another job; and a node whose daemon was killed goes on with a job that
was given to another node. So every start takes a turn: the next number of the job's, in a file that only one can make.
The command is started by who has the last turn, when every turn before has ended. Whoever holds an earlier one sees
within seconds that it is not the last, ends its command and leaves its end; one that was killed is known by its process
where it ran on this machine, and elsewhere by its silence.

    PREFIX.N.turn    host, boot and pid namespace, process id, its start [ticks], attempt (job id.restart count)
    PREFIX.N.begin   the command has started, as `_wrapper` writes it
    PREFIX.N.left    it was told to end, for a later turn
    PREFIX.N.traps   its command does something of its own about SIGTERM
    PREFIX.N.end     it has ended, as `_wrapper` writes it; the last word on this turn
    PREFIX.latest    the number of the last turn, in a file that stays: a network file system shows a change of one at
                     once, and a new one late
    PREFIX.done      the command has completed. Made as soon as it has, for Slurm may kill at any moment, and taken
                     back where it turns out to have been stopped. It is empty: to be there is on the disk of the file
                     system, what is in it may not be

Where the nodes cannot write there is no turn, and Slurm's word is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from outweigh.backends.executors._wrapper import HEAD, RUN, Begin, End, read_begin, read_end

#: A turn on another machine is over that has left no end for so many half seconds since it was told to. An answer
#: takes 10 s; a network file system may hide the file that it made for a minute.
_SILENT: Final = 240
#: So long after a completion its turn may still take it back [s]; longer, and it was killed before its last word.
_DOUBT_S: Final = 5.0

#: POSIX shell. Arguments: prefix, attempt, signal to save or "", folder to run in or "", command and its arguments.
WRAPPER: Final = (
    r"""
all_=$1 attempt_=$2 signal_=$3 folder_=$4; shift 4
"""
    + HEAD
    + r"""
here_="$(uname -n) $(cat /proc/sys/kernel/random/boot_id 2>/dev/null):$(readlink /proc/self/ns/pid 2>/dev/null)"
turn_=0 full_=0
# The first that is not taken. A folder that cannot be written to, or has no room, must not stop the job.
until (set -C; echo "$here_ $$ $(ticks_ $$) $attempt_" > "$all_.$turn_.turn") 2>/dev/null; do
  [ -s "$all_.$turn_.turn" ] || full_=$((full_ + 1))
  if [ -e "$all_.$turn_.turn" ] && [ "$full_" -lt 5 ]; then turn_=$((turn_ + 1)); else turn_=; break; fi
done
record_=$all_.${turn_:-$attempt_}
[ -z "$turn_" ] || echo "$turn_" > "$all_.latest"
superseded_() { [ "$(cat "$all_.latest" 2>/dev/null)" -gt "$turn_" ] 2>/dev/null; }
gone_() { case $(stat_ "$1") in ''|[ZX]*) return 0 ;; esac; [ "$(ticks_ "$1")" != "$2" ]; }
over_() {
  [ ! -e "$all_.$1.end" ] || return 0
  host_= where_= pid_= started_=
  read -r host_ where_ pid_ started_ rest_ < "$all_.$1.turn" 2>/dev/null
  if [ "$host_ $where_" = "$here_" ] && [ -n "$pid_" ]; then
    gone_ "$pid_" "$started_" || return 1
    # What it had started is killed with it, a little later.
    [ -e "$all_.$1.end" ] || [ "$1" -lt $((turn_ - 1)) ] || sleep 0.5 2>/dev/null || sleep 1
    return 0
  fi
  [ "$asked_" -ge SILENT ]
}
before_=0 asked_=0 wait_=
while [ "$before_" -lt "${turn_:-0}" ]; do
  if over_ "$before_"; then before_=$((before_ + 1)) asked_=0; continue; fi
  if [ "$term_" = 1 ] || superseded_; then code_=143; break; fi
  asked_=$((asked_ + 1))
  sleep 0.5 2>/dev/null || sleep 1
done
if [ -z "$code_" ] && [ -e "$all_.done" ]; then code_=0; fi
if [ -n "$code_" ]; then
  at_=$(date +%s.%N)
  { [ -z "$turn_" ] || end_ "$record_.end"; } 2>/dev/null
  exit "$code_"
fi
{ began_ > "$record_.begin"; } 2>/dev/null
leave_=look_ left_=told_to_leave_
# Of the signals it catches, in hexadecimal: SIGTERM, 15, is the 4 of the fourth digit from the right.
traps_() { case $(sed -n 's/^SigCgt:.*\(.\)...$/\1/p' "/proc/$1/status" 2>/dev/null) in [4-7c-f]) ;; *) false ;; esac; }
look_() { [ -e "$record_.traps" ] || ! traps_ "$child_" || true > "$record_.traps"; superseded_; }
told_to_leave_() { true > "$record_.left"; }
[ -n "$turn_" ] || leave_=
"""
    + RUN
    + r"""
mine_=
if [ "$code_$term_" = 00 ] && [ ! -e "$record_.left" ]; then { true > "$all_.done"; } 2>/dev/null && mine_=1; fi
at_=$(date +%s.%N)
# SIGTERM to a whole job reaches one process after the other, the last started first, and a command may end, well or
# not, before we hear of it; who watched for us would have ended by it too. One that does nothing about it is told at
# once by how it ended, unless it is a script that went on when a part of it was killed.
if [ -e "$record_.traps" ]; then sleep 0.2; else sleep 0.02; fi 2>/dev/null
if [ -e "$record_.left" ] || { [ -n "$watch_" ] && case $(stat_ "$watch_") in ''|[ZX]*) ;; *) false ;; esac; }; then
  term_=1
fi
[ -z "$watch_" ] || kill "$watch_" 2>/dev/null
[ "$term_$mine_" != 11 ] || rm -f "$all_.done"
{ end_ "$record_.end"; } 2>/dev/null
"""
).replace("SILENT", str(_SILENT))


@dataclass(frozen=True, slots=True)
class Turn:
    """`attempt` is "job id.restart count" in Slurm; `begin` is None where the command was not started."""

    number: int
    host: str
    attempt: str
    begin: Begin | None
    end: End | None


def read_turns(prefix: Path, first: int = 0) -> list[Turn]:
    """Those that were taken, from number `first` on."""
    found: list[Turn] = []
    number = max(first, 0)
    while True:
        try:
            words = prefix.with_name(f"{prefix.name}.{number}.turn").read_text("utf-8", "replace").split()
        except OSError:
            return found
        host, attempt = (words[0], words[-1]) if len(words) > 1 else ("", "")  # it is just being made
        found.append(Turn(number, host, attempt, read_begin(prefix, str(number)), read_end(prefix, str(number))))
        number += 1


def read_done(prefix: Path, turns: list[Turn], now: datetime) -> End | None:
    """The end of the turn that completed; None while it may yet be taken back."""
    try:
        made = prefix.with_name(f"{prefix.name}.done").stat().st_mtime
    except OSError:
        return None
    for turn in reversed(turns):
        if turn.end is not None and turn.end.exit_code == 0 and not turn.end.terminated and turn.begin is not None:
            return turn.end
    at = datetime.fromtimestamp(made, UTC)
    return End(at, 0) if now - at >= timedelta(seconds=_DOUBT_S) else None

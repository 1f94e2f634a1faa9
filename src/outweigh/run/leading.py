"""Who leads: names of processes that no other process has, and whether one of this machine is gone."""

from __future__ import annotations

import json
import uuid
from typing import Final

from outweigh.ledger.journal import started_ticks, writer

#: Tells supervisors within one process apart.
_SAME: Final = ("machine", "boot", "pid_namespace")


def holder_name() -> str:
    """Names this supervisor: the process by pid, start, boot, pid namespace and machine (hashed), and one more word."""
    return json.dumps({**writer(), "one": uuid.uuid4().hex[:8]}, sort_keys=True, separators=(",", ":"))


def holder_is_gone(holder: str) -> bool:
    """Whether that process is certainly gone: it was on this machine, and none of its pid and start is here.

    >>> holder_is_gone(holder_name()), holder_is_gone("somebody else")
    (False, False)
    """
    try:
        other = json.loads(holder)
    except ValueError:
        return False
    if not isinstance(other, dict):
        return False
    me = writer()
    if not me["boot"] or not me["machine"] or other.get("started_ticks") is None:
        return False
    if any(other.get(name) != me[name] for name in _SAME):
        return False
    return started_ticks(int(other.get("pid", 0))) != int(other["started_ticks"])


def holder_words(holder: str) -> str:
    """For people."""
    try:
        return f"process {json.loads(holder)['pid']}"
    except (ValueError, KeyError, TypeError):
        return holder or "nobody"

"""Which role a path asks for. What is not named here: reading needs a reader, and all else an owner."""

from __future__ import annotations

from outweigh.ports.serving import Role

_ORDER = {Role.READER: 1, Role.WRITER: 2, Role.OWNER: 3}
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

# Answered to anybody: nothing in them says anything about anyone's energy.
_OPEN = frozenset({"/healthz", "/health", "/login", "/favicon.ico"})
_OPEN_UNDER = ("/static/",)

# Writes by what they write. The two batches of the Carbon Aware API are questions too long for a GET.
_WRITES: dict[tuple[str, str], Role] = {
    ("POST", "/api/v1/receipts"): Role.WRITER,
    ("POST", "/api/v1/verdicts"): Role.WRITER,
    ("POST", "/api/v1/plans"): Role.WRITER,
    ("POST", "/emissions/forecasts/batch"): Role.READER,
    ("POST", "/emissions/average-carbon-intensity/batch"): Role.READER,
    ("POST", "/logout"): Role.READER,
}
_OWNERS_ONLY = ("/api/v1/tokens", "/api/v1/audit")


def needed(method: str, path: str) -> Role | None:
    """The least role that may ask for this; None lets anybody."""
    if path in _OPEN or path.startswith(_OPEN_UNDER):
        return None
    if (method, path) in _WRITES:
        return _WRITES[method, path]
    if any(path == one or path.startswith(f"{one}/") for one in _OWNERS_ONLY) or method not in SAFE:
        return Role.OWNER
    return Role.READER


def allows(has: Role, needs: Role) -> bool:
    """
    >>> allows(Role.OWNER, Role.READER), allows(Role.READER, Role.WRITER)
    (True, False)
    """
    return _ORDER[has] >= _ORDER[needs]


def audited(method: str, path: str) -> bool:
    """Whether it is written down: everything that changes something, and whatever only owners see."""
    if (method, path) in _WRITES and _WRITES[method, path] is Role.READER:
        return False
    return method not in SAFE or needed(method, path) is Role.OWNER

"""Sites that are only names: `se=8,fr=8`, with the hardware threads that jobs may hold at each."""

from __future__ import annotations

from outweigh.core.errors import UsageError


def places(executor: str, argument: str) -> dict[str, int | None]:
    """Name -> hardware threads, None without limit. Raises UsageError."""
    found: dict[str, int | None] = {}
    for part in filter(None, (piece.strip() for piece in argument.split(","))):
        name, equals, threads = part.partition("=")
        if not name or name in found or (equals and not (threads.isdecimal() and int(threads) > 0)):
            raise UsageError(
                f"{part!r} is no site of the executor {executor}", f"Write {executor}:se,fr or {executor}:se=8,fr=8"
            )
        found[name] = int(threads) if equals else None
    return found

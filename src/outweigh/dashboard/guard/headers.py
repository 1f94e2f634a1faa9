"""The headers that go with every answer.

Source: Content Security Policy Level 3, W3C Working Draft; RFC 9110; Fetch, "CORP" and HTML, "COOP".
"""

from __future__ import annotations

# Styles may be inline because the chart library writes a style element into its drawings; scripts never.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_NAMES = frozenset(name for name, _ in HEADERS)


def with_ours(headers: list[tuple[bytes, bytes]], *, private: bool) -> list[tuple[bytes, bytes]]:
    """Those of an answer and ours, which go first. What only some may see is never kept by anybody on the way."""
    found = [(name, value) for name, value in headers if name.lower() not in _NAMES]
    if private and not any(name.lower() == b"cache-control" for name, _ in found):
        found.append((b"cache-control", b"private, no-cache"))
    return [*HEADERS, *found]

"""What a request says it is for, and where it says it comes from.

A page elsewhere can make a browser ask here: by a name that it lets point at this machine (DNS rebinding), which the
Host header gives away, or across sites, which Origin and Sec-Fetch-Site give away. No answer of ours carries a CORS
header, so pages elsewhere read nothing.

Source: Fetch Metadata Request Headers, W3C Working Draft, 2.4 (Sec-Fetch-Site); RFC 6454, 7 (Origin).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping

_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")
_ORIGIN = re.compile(r"https?://" + _HOST.pattern)


def own_names(given: tuple[str, ...], *, wide: bool) -> frozenset[str]:
    """Host names that requests may be for, in lower case."""
    here = {"localhost"}
    if wide:
        here.add(socket.gethostname().lower())
    return frozenset(here | {name.lower().rstrip(".") for name in given})


def is_ours(host: str, names: frozenset[str], *, wide: bool) -> bool:
    """Whether a Host header is for us.

    A number cannot be made to point elsewhere, so on a wider address any will do; on this machine's own, only its own.

    >>> is_ours("127.0.0.1:8080", frozenset(), wide=False), is_ours("evil.example:8080", frozenset(), wide=False)
    (True, False)
    """
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found[1].lower().rstrip(".")
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return name in names
    return wide or address.is_loopback


def is_from_elsewhere(headers: Mapping[str, str], scheme: str) -> bool:
    """Whether a browser says that a page of another site asks. Programs say nothing of the kind."""
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    origin = headers.get("origin")
    return origin is not None and origin.lower() != f"{scheme}://{headers.get('host', '')}".lower()


def is_hidden_by_proxy(headers: Mapping[str, str], scheme: str) -> bool:
    """Whether what looks like another site may be our own page, at an address that a proxy does not tell us.

    The page's browser says that it is the same origin, and only the scheme or the port is not the one we were asked by.
    It changes no refusal, only what is said in it: a program can claim all of this.

    >>> from_browser = {
    ...     "origin": "https://energy.example:8443",
    ...     "host": "energy.example",
    ...     "sec-fetch-site": "same-origin",
    ... }
    >>> is_hidden_by_proxy(from_browser, "http"), is_hidden_by_proxy(from_browser | {"host": "other.example"}, "http")
    (True, False)
    """
    page, host = _ORIGIN.fullmatch(headers.get("origin", "")), _HOST.fullmatch(headers.get("host", ""))
    return (
        page is not None
        and host is not None
        and page[1].lower() == host[1].lower()
        and headers.get("sec-fetch-site", "same-origin") == "same-origin"
        and is_from_elsewhere(headers, scheme)
    )

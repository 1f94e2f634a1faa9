"""Builds the documentation as a site, strictly, and refuses one that would fetch anything from elsewhere.

`python scripts/build_docs.py [FOLDER]`; build/site by default. A warning of MkDocs is an error: a dead link, a page
without a place in the navigation, a name that the API reference does not find. Then every page, style sheet and script
that was built is looked through: nothing may be loaded from another host when a page is opened.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOADS = {
    "script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src",
    "object": "data", "embed": "src",
}  # fmt: skip
LINKS_THAT_LOAD_NOTHING = {"canonical", "alternate", "prev", "next", "author", "license"}
IN_CSS = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)""")


class Loads(HTMLParser):
    """What a page loads by itself, as far as it comes from another host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(LOADS.get(tag, "")) or ""
        if tag == "link" and set((given.get("rel") or "").split()) <= LINKS_THAT_LOAD_NOTHING:
            return
        if re.match(r"(?:https?:)?//", address):
            self.found.append(address)
        self.found += IN_CSS.findall(given.get("style") or "")
        if "mermaid" in (given.get("class") or "").split():
            self.found.append("mermaid, which the theme fetches from a CDN")


def loaded_from_elsewhere(site: Path) -> list[str]:
    """(page: address) of everything that opening a page would fetch from another host."""
    found = []
    for path in sorted(site.rglob("*")):
        if path.suffix == ".html":
            page = Loads()
            page.feed(path.read_text(encoding="utf-8"))
            found += [f"{path.relative_to(site)}: {address}" for address in page.found]
        elif path.suffix == ".css":
            addresses = IN_CSS.findall(path.read_text(encoding="utf-8"))
            found += [f"{path.relative_to(site)}: {address}" for address in addresses]
    return found


def main() -> int:
    site = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "build" / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", "--quiet", "--site-dir", str(site)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        return done.returncode
    if found := loaded_from_elsewhere(site):
        print("the site would fetch from elsewhere:", *found, sep="\n  ")
        return 1
    pages = sum(1 for _ in site.rglob("*.html"))
    print(f"{pages} pages in {site.relative_to(ROOT) if site.is_relative_to(ROOT) else site}; nothing from elsewhere")
    return 0


if __name__ == "__main__":
    sys.exit(main())

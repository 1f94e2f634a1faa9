"""What a page is: where it lies, the question it answers, where its data come from and how they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import Asked
from outweigh.app.pages.shape import stated

if TYPE_CHECKING:
    from outweigh.app.serving import Served


def _no_more(served: Served) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the dashboard.

    Attributes:
        path: of its address; "{address}" in it becomes `Asked.address`.
        title: in the navigation and the window's title.
        question: the one question it answers, as people ask it.
        data: what it shows, plain JSON types. Its OutweighErrors become the answer's status and text.
        template: of `_templates`; it extends `base.html.j2`.
        script: of `_assets`; it draws what `data` says. "" where there is nothing to draw.
        takes: fields of the address it takes; any other is refused.
        libraries: of `data.web` that the script needs.
        instances: addresses of a page with "{address}", for a static copy.
    """

    path: str
    title: str
    question: str
    data: Callable[[Served, Asked], dict[str, Any]]
    template: str
    script: str = ""
    takes: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ("d3.min.js", "plot.umd.min.js")
    instances: Callable[[Served], Iterable[str]] = _no_more

    def told(self, served: Served, asked: Asked) -> dict[str, Any]:
        """`data`, with what is no number taken out: JSON and ETags know only finite ones."""
        return stated(self.data(served, asked))

    @property
    def name(self) -> str:
        """The word for it in other addresses and file names: "hum" for "/", "runs/{address}" for a receipt."""
        return self.path.strip("/") or "hum"

    @property
    def in_navigation(self) -> bool:
        return "{" not in self.path

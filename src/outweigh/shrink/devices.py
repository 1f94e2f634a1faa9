"""Settings of the device that a variant is to run with: held around its runs, only where that was allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.data.device_journal import left_behind
from outweigh.ports import DeviceLever
from outweigh.registry import levers
from outweigh.shrink.making import MadeVariant

_PERMISSION = "--allow-device-settings"


def holding(made: Iterable[MadeVariant], allowed: bool) -> Callable[[Variant], AbstractContextManager[object]]:
    """What to hold around each run of a variant: `with holding(made, allowed)(variant): run`.

    Most variants have no lever on the device, and theirs holds nothing. What a killed run left changed is put back
    first, allowed or not: it was allowed then.

    Args:
        made: the variants that will be run.
        allowed: whether settings of the device may be changed.

    Raises:
        LeverError: a variant needs a setting and that is not allowed, or one of an earlier run cannot be put back;
            inside the context, it cannot be changed or put back.
    """
    put_back_settings()
    held = {one.variant.name: device_levers(one.variant) for one in made}
    for name, names in held.items():
        if names and not allowed:
            problem = "it changes a setting of the device, which was not allowed"
            raise LeverError(names[0], name, problem, f"Allow it with {_PERMISSION}, or leave the variant out")

    @contextmanager
    def around(variant: Variant) -> Iterator[None]:
        with ExitStack() as stack:
            for name in held.get(variant.name, ()):
                stack.enter_context(_built(name).held())
            yield

    return around


def device_levers(variant: Variant) -> tuple[str, ...]:
    """Those of a variant's levers that change a setting of the device, as spelled."""
    return tuple(name for name in variant.levers if _changes_device(levers.named(name)[0]))


def put_back_settings() -> tuple[str, ...]:
    """Put back what a killed run left changed on this machine; says what was done, nothing where there is nothing.

    Raises LeverError when it cannot be, with the command that does it by hand.
    """
    said: list[str] = []
    for name in left_behind():
        restore = getattr(levers.get(name), "restore", None) if name in levers.names() else None
        if restore is not None:
            said += restore()
    return tuple(said)


def usable_levers() -> tuple[str, ...]:
    """Levers to try where none was named: usable here, needing no argument, and changing no setting of the device."""
    return tuple(
        name
        for name in levers.names()
        if not getattr(kind := levers.get(name), "needs_argument", False)
        and not _changes_device(kind)
        and kind.probe().usable
    )


def _changes_device(kind: type[Any]) -> bool:
    # A protocol with data members knows objects, not classes; the one promise that tells these levers apart is `held`.
    return callable(getattr(kind, "held", None))


def _built(name: str) -> DeviceLever:
    kind, argument = levers.named(name)
    made: Any = kind
    lever: DeviceLever = made(argument)
    return lever

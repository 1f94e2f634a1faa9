"""What can be used here and what cannot, over every kind of back-end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outweigh.core.errors import MissingExtra, OutweighError
from outweigh.ports import Availability

if TYPE_CHECKING:
    from outweigh.registry import Registry

# A back-end of a third party may fail in any way while it is imported or probed. The doctor has to outlive each
# of them, and must not swallow an interrupt or running out of memory.
_PROBE_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    OutweighError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


def probe_all() -> tuple[tuple[str, Availability], ...]:
    """(kind, what was found) of every back-end, meters first. Never raises over a back-end that is broken."""
    return tuple((kind, probe_one(kind, name)) for kind, registry in _registries().items() for name in registry.names())


def probe_one(kind: str, name: str) -> Availability:
    """What the probe of one back-end finds; a failure to import or probe it is a finding too."""
    try:
        backend = _registries()[kind].get(name)
        probe = getattr(backend, "probe", None)
        if probe is None:  # exporters write files: there is nothing to be missing
            return Availability(name, usable=True, sees=_first_line(backend))
        found = probe()
    except MissingExtra as err:
        return Availability(name, usable=False, reason=f"the package {err.package} is not installed", remedy=err.remedy)
    except ImportError as err:
        missing = err.name or str(err)
        return Availability(
            name,
            usable=False,
            reason=f"the package {missing} is not installed",
            remedy=f"pip install {missing.partition('.')[0]}, or the extra of outweigh that has it",
        )
    except _PROBE_FAILURES as err:
        remedy = err.remedy if isinstance(err, OutweighError) else "Report it to the author of this back-end"
        return Availability(name, usable=False, reason=f"its probe failed: {err}", remedy=remedy)
    return (
        found if isinstance(found, Availability) else Availability(name, usable=False, reason="its probe says nothing")
    )


def _registries() -> dict[str, Registry[Any]]:
    from outweigh import registry

    return {
        "meters": registry.meters,
        "grid": registry.grid_sources,
        "levers": registry.levers,
        "tasks": registry.tasks,
        "executors": registry.executors,
        "stores": registry.stores,
        "exporters": registry.exporters,
    }


def _first_line(backend: type) -> str:
    return (backend.__doc__ or "").strip().partition("\n")[0]

"""Name -> class. The file name is the name people type: `cpu-model` lives in `backends/meters/cpu_model.py`,
`quantize:int8-dynamic` in `backends/levers/quantize__int8_dynamic.py`.

Nothing is imported until it is asked for. Third parties add a back-end with an entry point in the group
`outweigh.<kind>` ("outweigh.meters"); a name of ours cannot be taken over.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from outweigh.core.errors import UnknownBackend

# Every back-end imports this module, and a meter should be quick to load: what only a look-up needs waits for one.
if TYPE_CHECKING:
    from outweigh.ports import Executor, Exporter, GridSource, JobExecutor, Lever, Meter, Store, TaskAdapter

T = TypeVar("T")
C = TypeVar("C", bound=type)


class Registry(Generic[T]):
    """All back-ends of one kind (`meters`): registered names, found without importing them."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[C], C]:
        """Class decorator: enter the class under the name people type, and stamp the name on it."""

        def enter(cls: C) -> C:
            type.__setattr__(cls, "name", name)
            self._classes[name] = cls
            return cls

        return enter

    def names(self) -> tuple[str, ...]:
        """All known names, sorted: ours by file name, then installed entry points and run-time registrations."""
        import pkgutil
        from importlib.metadata import entry_points

        package = importlib.import_module(f"outweigh.backends.{self.kind}")
        ours = {_typed(module.name) for module in pkgutil.iter_modules(package.__path__) if module.name[0] != "_"}
        theirs = {point.name for point in entry_points(group=f"outweigh.{self.kind}")}
        return tuple(sorted(ours | theirs | set(self._classes)))

    def get(self, name: str) -> type[T]:
        """The class of that name, imported now. Raises UnknownBackend with the nearest name."""
        if name in self._classes or self._ours(name):
            return self._classes[name]
        known = self.names()
        if name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"Did you mean {near[0]!r}?" if near else "`outweigh doctor` lists what there is"
            raise UnknownBackend(self.kind.rstrip("s"), name, known, remedy)
        try:
            importlib.import_module(f"outweigh.backends.{self.kind}.{_module(name)}")
        except ModuleNotFoundError as err:
            if err.name is None or not err.name.startswith(f"outweigh.backends.{self.kind}."):
                raise
            from importlib.metadata import entry_points

            for point in entry_points(group=f"outweigh.{self.kind}", name=name):
                self._classes[name] = point.load()
        return self._classes[name]

    def _ours(self, name: str) -> bool:
        """Import our own back-end of that name, if there is one: without listing every package that is installed."""
        from importlib.util import find_spec

        module = _module(name)
        if not module.isidentifier() or module[0] == "_" or _typed(module) != name:
            return False
        path = f"outweigh.backends.{self.kind}.{module}"
        if find_spec(path) is None:
            return False
        importlib.import_module(path)
        return name in self._classes

    def named(self, text: str) -> tuple[type[T], str]:
        """The class and its argument: "batch:8" is `batch` with "8", where no back-end has the whole as its name.

        Raises UnknownBackend with the nearest name.
        """
        if text in self._classes or self._ours(text):
            return self._classes[text], ""
        known = self.names()
        head = text
        while head not in known and ":" in head:
            head = head.rpartition(":")[0]
        return (self.get(head), text[len(head) + 1 :]) if head in known else (self.get(text), "")


def _typed(module: str) -> str:
    return module.replace("__", ":").replace("_", "-")


def _module(name: str) -> str:
    return name.replace(":", "__").replace("-", "_")


meters: Registry[Meter] = Registry("meters")
grid_sources: Registry[GridSource] = Registry("grid")
levers: Registry[Lever] = Registry("levers")
tasks: Registry[TaskAdapter] = Registry("tasks")
executors: Registry[Executor] = Registry("executors")
#: The same classes, by what they promise of jobs that outlive the question. `local` keeps both promises.
job_executors = cast("Registry[JobExecutor]", executors)
stores: Registry[Store] = Registry("stores")
exporters: Registry[Exporter] = Registry("exporters")

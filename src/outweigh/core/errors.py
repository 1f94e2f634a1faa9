"""The one error tree. Every error has typed fields, a remedy, and survives pickling to a worker.

The exit code is the one the command line ends with when the error reaches it (DESIGN: 2 usage or
configuration, 3 measurement unusable, 4 factor missing or stale).
"""

from __future__ import annotations

# Not from typing, whose import would cost more than all the rest; type checkers take any name like this as true.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class OutweighError(Exception):
    """Anything outweigh raises on purpose. `remedy` says what to do next."""

    exit_code: ClassVar[int] = 2

    def __init__(self, *fields: object) -> None:
        # Exception.__reduce__ pickles self.args: pass every constructor argument through.
        super().__init__(*fields)

    @property
    def remedy(self) -> str:
        return str(self.args[-1]) if self.args else ""

    def __str__(self) -> str:
        return ": ".join(str(part) for part in self.args)


# --- usage and configuration: exit 2 ----------------------------------------------------------------


class UsageError(OutweighError):
    """A command was asked for something it cannot do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.problem}. {self.remedy}"


class CommandNotRun(OutweighError):
    """A command could not be started. `exit_code_hint` is a shell's answer: 127 not found, 126 not executable."""

    def __init__(self, command: str, reason: str, exit_code_hint: int, remedy: str) -> None:
        super().__init__(command, reason, exit_code_hint, remedy)
        self.command, self.reason, self.exit_code_hint = command, reason, exit_code_hint

    def __str__(self) -> str:
        return f"{self.command}: {self.reason}. {self.remedy}"


class InvalidQuantity(OutweighError, ValueError):
    """A number or unit that cannot be what it is said to be."""

    def __init__(self, quantity: str, given: str, remedy: str) -> None:
        super().__init__(quantity, given, remedy)
        self.quantity, self.given = quantity, given

    def __str__(self) -> str:
        return f"{self.given} is not a valid {self.quantity}: {self.remedy}"


class ConfigError(OutweighError):
    """energy.toml says something we refuse. `line` is 1-based; 0 when it concerns the whole file."""

    def __init__(self, path: str, line: int, problem: str, remedy: str) -> None:
        super().__init__(path, line, problem, remedy)
        self.path, self.line, self.problem = path, line, problem

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.problem}. {self.remedy}"


class UnknownBackend(OutweighError):
    """No back-end of that kind goes by that name."""

    def __init__(self, kind: str, name: str, known: tuple[str, ...], remedy: str) -> None:
        super().__init__(kind, name, known, remedy)
        self.kind, self.name, self.known = kind, name, known

    def __str__(self) -> str:
        return f"no {self.kind} is called {self.name!r}; known: {', '.join(self.known) or 'none'}. {self.remedy}"


class MissingExtra(OutweighError):
    """A back-end needs a package that is not installed."""

    def __init__(self, package: str, needed_by: str, remedy: str) -> None:
        super().__init__(package, needed_by, remedy)
        self.package, self.needed_by = package, needed_by

    def __str__(self) -> str:
        return f"{self.needed_by} needs the package {self.package}, which is not installed. {self.remedy}"


class TaskError(OutweighError):
    """The evaluation task cannot be run as declared (data set, tokenizer, labels)."""

    def __init__(self, task: str, problem: str, remedy: str) -> None:
        super().__init__(task, problem, remedy)
        self.task, self.problem = task, problem

    def __str__(self) -> str:
        return f"{self.task}: {self.problem}. {self.remedy}"


class ModelError(OutweighError):
    """A model file is missing, not what it says it is, or gives unusable output."""

    def __init__(self, variant: str, problem: str, remedy: str) -> None:
        super().__init__(variant, problem, remedy)
        self.variant, self.problem = variant, problem

    def __str__(self) -> str:
        return f"variant {self.variant}: {self.problem}. {self.remedy}"


class LeverError(OutweighError):
    """A lever does not apply to this variant, or broke it."""

    def __init__(self, lever: str, variant: str, problem: str, remedy: str) -> None:
        super().__init__(lever, variant, problem, remedy)
        self.lever, self.variant, self.problem = lever, variant, problem

    def __str__(self) -> str:
        return f"{self.lever} on {self.variant}: {self.problem}. {self.remedy}"


class PlanInfeasible(OutweighError):
    """No plan meets the constraints. `missing` says what is short, with its unit."""

    def __init__(self, problem: str, missing: str, remedy: str) -> None:
        super().__init__(problem, missing, remedy)
        self.problem, self.missing = problem, missing

    def __str__(self) -> str:
        return f"no feasible plan: {self.problem} (short by {self.missing}). {self.remedy}"


class PlanNotFound(PlanInfeasible):
    """The search found no plan that meets the constraints, and nothing proves that there is none."""

    def __str__(self) -> str:
        return f"no plan was found: {self.problem} (short by {self.missing}). {self.remedy}"


# --- schedulers: exit 2, and 125 from a verb that passes a child's code through ----------------------


class ExecutorError(OutweighError):
    """A scheduler, or what runs jobs here, did not do what it was asked. `executor` is its name."""

    def __init__(self, executor: str, reason: str, remedy: str) -> None:
        super().__init__(executor, reason, remedy)
        self.executor, self.reason = executor, reason

    def __str__(self) -> str:
        return f"{self.executor}: {self.reason}. {self.remedy}"


class ExecutorUnavailable(ExecutorError):
    """It does not answer, or is not there. Nobody knows whether it did what was asked: look before asking again."""


class NotPermitted(ExecutorError):
    """It answers that this user may not do that."""


class NotOffered(ExecutorError):
    """It cannot do that at all, or not with this job: see `abilities`."""


class SiteUnknown(ExecutorError):
    """It has no such site, or has it no longer. `known` are those it has."""

    def __init__(self, executor: str, site: str, known: tuple[str, ...], remedy: str) -> None:
        super().__init__(executor, f"it has no site {site!r}; it has {', '.join(known) or 'none'}", remedy)
        Exception.__init__(self, executor, site, known, remedy)  # what pickling hands to this constructor again
        self.site, self.known = site, known


class JobError(ExecutorError):
    """About one job. `key` is its owner's name for it."""

    def __init__(self, executor: str, key: str, reason: str, remedy: str) -> None:
        super().__init__(executor, f"job {key}: {reason}", remedy)
        Exception.__init__(self, executor, key, reason, remedy)
        self.key, self.reason = key, reason


class JobUnknown(JobError):
    """It knows no job of that key."""


class JobOver(JobError):
    """The job has ended, and what was asked needs one that has not."""


class JobRefused(JobError):
    """It will not take the job as it is: its size, its limit, its script."""


class LeaseLost(OutweighError):
    """Another supervisor leads this plan now; what this one wanted to write was not written."""

    def __init__(self, following: str, holder: str, remedy: str) -> None:
        super().__init__(following, holder, remedy)
        self.following, self.holder = following, holder

    def __str__(self) -> str:
        return f"another supervisor leads plan {self.following[:12]} now. {self.remedy}"


# --- measurement unusable: exit 3 -------------------------------------------------------------------


class MeasurementError(OutweighError):
    """Something measured cannot be used."""

    exit_code = 3


class MeterUnavailable(MeasurementError):
    """A meter cannot be read here."""

    def __init__(self, meter: str, reason: str, remedy: str) -> None:
        super().__init__(meter, reason, remedy)
        self.meter, self.reason = meter, reason

    def __str__(self) -> str:
        return f"{self.meter} cannot be read: {self.reason}. {self.remedy}"


class UnusableMeasurement(MeasurementError):
    """The samples do not carry the claim (gap, reset, too short a window)."""

    def __init__(self, what: str, reason: str, remedy: str) -> None:
        super().__init__(what, reason, remedy)
        self.what, self.reason = what, reason

    def __str__(self) -> str:
        return f"{self.what} is unusable: {self.reason}. {self.remedy}"


class OverlappingScopes(MeasurementError):
    """Two readings would count the same joules twice."""

    def __init__(self, outer: str, inner: str, remedy: str) -> None:
        super().__init__(outer, inner, remedy)
        self.outer, self.inner = outer, inner

    def __str__(self) -> str:
        return f"{self.outer} already contains {self.inner}: adding them counts energy twice. {self.remedy}"


class LedgerError(MeasurementError):
    """The ledger cannot be opened, read or written."""

    def __init__(self, path: str, reason: str, remedy: str) -> None:
        super().__init__(path, reason, remedy)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"ledger {self.path}: {self.reason}. {self.remedy}"


class LedgerCorrupt(LedgerError):
    """A row was altered or is missing."""


class RunUnreadable(LedgerError):
    """The ledger is well, and the file of a run in flight, `path`, cannot be looked at."""


class ReceiptRefused(LedgerError):
    """The ledger is well, and this receipt cannot be kept in it: what it says cannot be written there."""


class RunKeptAlready(LedgerError):
    """The ledger is well, and keeps this run with other content."""


class ServerUnavailable(LedgerError):
    """An outweigh server that receipts are pushed to does not answer, or asks for more time. `path` is its address.

    Nothing is lost: what was not acknowledged waits on disk. `retry_after_s` is the pause it asked for [s]; 0 for none.
    """

    def __init__(self, path: str, reason: str, retry_after_s: int, remedy: str) -> None:
        super().__init__(path, reason, remedy)
        Exception.__init__(self, path, reason, retry_after_s, remedy)  # what pickling hands to this constructor again
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"server {self.path}: {self.reason}. {self.remedy}"


class OutputError(OutweighError):
    """A report or plan file cannot be written."""

    def __init__(self, path: str, reason: str, remedy: str) -> None:
        super().__init__(path, reason, remedy)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"cannot write {self.path}: {self.reason}. {self.remedy}"


# --- factor missing or stale: exit 4 ----------------------------------------------------------------


class FactorMissing(OutweighError):
    """No factor (carbon intensity, price, PUE, power curve) is known for what was asked."""

    exit_code = 4

    def __init__(self, factor: str, key: str, nearest: tuple[str, ...], remedy: str) -> None:
        super().__init__(factor, key, nearest, remedy)
        self.factor, self.key, self.nearest = factor, key, nearest

    def __str__(self) -> str:
        near = f" (nearest: {', '.join(self.nearest)})" if self.nearest else ""
        return f"no {self.factor} for {self.key!r}{near}. {self.remedy}"


class UnknownZone(FactorMissing):
    """No grid zone goes by that name: a slip of the person who typed it, so exit 2. `nearest` lists what is like it."""

    exit_code = 2

    def __init__(self, key: str, nearest: tuple[str, ...], remedy: str) -> None:
        super().__init__("grid zone", key, nearest, remedy)
        Exception.__init__(self, key, nearest, remedy)  # what pickling hands to this constructor again


class GridUnavailable(OutweighError):
    """A grid source could not be asked: no network, no key, an outage. `source` names the back-end."""

    exit_code = 4

    def __init__(self, source: str, reason: str, remedy: str) -> None:
        super().__init__(source, reason, remedy)
        self.source, self.reason = source, reason

    def __str__(self) -> str:
        return f"grid source {self.source} cannot be asked: {self.reason}. {self.remedy}"


class GridBusy(GridUnavailable):
    """A grid source asked us to wait (429 or 503). `retry_after_s` is how long [s]."""

    def __init__(self, source: str, retry_after_s: int, remedy: str) -> None:
        super().__init__(source, self._why(retry_after_s), remedy)
        Exception.__init__(self, source, retry_after_s, remedy)
        self.retry_after_s = retry_after_s

    @staticmethod
    def _why(retry_after_s: int) -> str:
        return f"it asks for a pause of {retry_after_s} s"


class GridHeldBack(GridBusy):
    """We did not ask: our requests have used up the limit that the provider publishes."""

    @staticmethod
    def _why(retry_after_s: int) -> str:
        return f"we keep to its published limit, which leaves room again in {retry_after_s} s"


class GridDataInvalid(OutweighError):
    """A grid source answered with something that cannot be its data. `where` is a file and line, or an address."""

    exit_code = 4

    def __init__(self, source: str, where: str, problem: str, remedy: str) -> None:
        super().__init__(source, where, problem, remedy)
        self.source, self.where, self.problem = source, where, problem

    def __str__(self) -> str:
        return f"grid source {self.source}, {self.where}: {self.problem}. {self.remedy}"


class GapsTooLarge(OutweighError):
    """More of a window is missing than may be passed over. `missing_percent` is of the window's time."""

    exit_code = 4

    def __init__(self, what: str, window: str, missing_percent: int, remedy: str) -> None:
        super().__init__(what, window, missing_percent, remedy)
        self.what, self.window, self.missing_percent = what, window, missing_percent

    def __str__(self) -> str:
        return f"{self.what} lacks {self.missing_percent} % of {self.window}. {self.remedy}"


class SeriesMismatch(OutweighError, TypeError):
    """Two series answer different questions (kind, scope, basis, currency, taxes) and are not to be compared."""

    def __init__(self, one: str, other: str, remedy: str) -> None:
        super().__init__(one, other, remedy)
        self.one, self.other = one, other

    def __str__(self) -> str:
        return f"{self.one} and {self.other} answer different questions and do not mix. {self.remedy}"

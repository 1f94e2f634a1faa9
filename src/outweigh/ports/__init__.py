"""What we ask of the outside. A back-end is one file that keeps one of these promises.

Verbs know only these; `registry` turns the name people type into the class. `serving`: what a server asks of a store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

# A promise names these words and needs none of them: a meter should not have to load what tasks and stores speak of.
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path
    from typing import Self

    from outweigh.core.following import Lease, StepKind, StepTaken
    from outweigh.core.intervals import Interval
    from outweigh.core.jobs import Ability, JobRequest, JobStatus
    from outweigh.core.measurement import Factor, Grade, Method, Scope, UncertaintyComponent
    from outweigh.core.project import TaskSpec
    from outweigh.core.quantities import CarbonIntensity, Price
    from outweigh.core.receipt import Receipt
    from outweigh.core.series import CarbonMeaning, CarbonSeries, PriceSeries
    from outweigh.core.variant import Variant


@dataclass(frozen=True, slots=True)
class Availability:
    """What a probe found. `reason` and `remedy` are set when it is not usable; `improve` when it could be better."""

    name: str
    usable: bool
    sees: str = ""
    grade: Grade | None = None
    reason: str = ""
    remedy: str = ""
    improve: str = ""


# --- meters -----------------------------------------------------------------------------------------


class ChannelKind(StrEnum):
    ENERGY = "energy"  # cumulative joules
    POWER = "power"  # watts


@dataclass(frozen=True, slots=True)
class Channel:
    """One series a meter reads.

    Attributes:
        id: unique within the meter ("package-0").
        device: physical device it belongs to; overlapping scopes of one machine are never added.
        wrap_j: value at which a cumulative counter starts again at 0 [J]; None when it never does.
        update_s: how often the source refreshes [s].
        resolution: smallest step of the value [J or W].
        max_power_w: most it can plausibly draw [W]; tells a wrap from a reset. None when unknown.
        counted: whether it is added to the total (an antichain of the scopes), or only shown.
        hum_w: idle draw the meter itself knows of (a model's intercept) [W]; None when it must be observed.
    """

    id: str
    device: str
    scope: Scope
    kind: ChannelKind
    wrap_j: float | None = None
    update_s: float = 0.0
    resolution: float = 0.0
    max_power_w: float | None = None
    counted: bool = True
    hum_w: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of all channels. `t_s` is monotonic [s]; a value is None when that channel did not answer."""

    t_s: float
    values: tuple[float | None, ...]


@runtime_checkable
class Meter(Protocol):
    """Something that reads energy or power. Fails with MeterUnavailable, from `open` or `read`.

    `components` returns the relative standard uncertainties (k = 1) that hold for any window, by name.
    """

    name: ClassVar[str]
    grade: Grade
    method: Method
    source: str
    factors: tuple[Factor, ...]

    @classmethod
    def probe(cls) -> Availability: ...

    @property
    def channels(self) -> tuple[Channel, ...]: ...

    def open(self) -> None: ...

    def read(self) -> Sample: ...

    def components(self) -> tuple[UncertaintyComponent, ...]: ...

    def close(self) -> None: ...


# --- tasks ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Steady:
    """The stretch of a run in which a server was saturated: as many requests in flight as were asked for.

    Attributes:
        start_s, end_s: on time.monotonic [s], the clock of `Sample.t_s`.
        units: how many items' worth of work fell into it; the energy of the stretch over this is that of an item.

    Source: J.-W. Chung et al., The ML.ENERGY Benchmark, arXiv:2505.06371: energy per token of the steady state times
    the mean number of tokens of a request.
    """

    start_s: float
    end_s: float
    units: float


@dataclass(frozen=True, slots=True)
class ItemResults:
    """What a runner gives for a list of evaluation items.

    Attributes:
        items: indices of the evaluation items, in the order run.
        scores: metric name -> one score an item; the metric is the mean of the scores that are not None
            (an item outside a class has no say in that class's recall).
        latency_ms: wall time of each item [ms].
        counts: further figures, one an item, 0 or more. Known names: "tokens_in", "tokens_out" [tokens], "prefill_s",
            "decode_s" [s], the wall time a language model spent reading its input and writing its output.
        steady: the stretch that counts where items ran beside each other on a server; None where all of it does, or
            where the server was never saturated.
    """

    items: tuple[int, ...]
    scores: Mapping[str, tuple[float | None, ...]]
    latency_ms: tuple[float, ...]
    counts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    steady: Steady | None = None


class Runner(Protocol):
    """One loaded variant, ready to do the task."""

    variant: Variant  # with its content_hash filled in

    def fit(self) -> None:
        """Train what the task trains on the training split (a head); nothing where it trains nothing."""

    def run(self, items: Sequence[int]) -> ItemResults: ...

    def close(self) -> None: ...


@runtime_checkable
class TaskAdapter(Protocol):
    """A task on a fixed evaluation set. Fails with TaskError (the data) or ModelError (a variant)."""

    name: ClassVar[str]

    @classmethod
    def probe(cls) -> Availability: ...

    def load(self, spec: TaskSpec, root: Path) -> None:
        """Read and split the data set. `root` is what relative paths start from."""

    @property
    def n_items(self) -> int: ...

    @property
    def metrics(self) -> tuple[str, ...]: ...

    @property
    def content_hash(self) -> str:
        """SHA-256 over data, split and labels: what a verdict is pinned to."""

    def runner(self, variant: Variant) -> Runner: ...


@runtime_checkable
class TeachesLevers(Protocol):
    """What a task may offer beside `TaskAdapter`: its training split, for levers that calibrate or fine-tune.

    Never an evaluation item: a lever that has seen what it will be judged on proves nothing.
    """

    def feeds(self, variant: Variant, n: int) -> Iterator[Mapping[str, Any]]:
        """Up to `n` training items as the named inputs of the variant's model, in an order fixed by the task's seed.

        Each is input name -> numpy array with a batch axis of one.
        """

    def examples(self) -> tuple[Any, Any]:
        """All training items as numpy arrays: inputs, shape (N, ...), and targets, shape (N,)."""


# --- levers, executors, stores, exporters, grid -----------------------------------------------------


@runtime_checkable
class Lever(Protocol):
    """Turns a variant into a cheaper one. Fails with LeverError."""

    name: ClassVar[str]

    @classmethod
    def probe(cls) -> Availability: ...

    def apply(self, variant: Variant, workdir: Path) -> Variant: ...


@runtime_checkable
class TaughtLever(Protocol):
    """A lever that needs training items: to set ranges by them, or to fine-tune. Fails with LeverError."""

    name: ClassVar[str]

    @classmethod
    def probe(cls) -> Availability: ...

    def apply_taught(self, variant: Variant, workdir: Path, task: TeachesLevers) -> Variant: ...


@runtime_checkable
class DeviceLever(Protocol):
    """A lever that changes a setting of the device while its variant runs, and restores it. Fails with LeverError."""

    name: ClassVar[str]

    @classmethod
    def probe(cls) -> Availability: ...

    def apply(self, variant: Variant, workdir: Path) -> Variant: ...

    def held(self) -> AbstractContextManager[object]:
        """The setting in force; on leaving, and after a kill at the next start, what it was before."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended: its exit code as a shell reports it (128 + signal), and the CPU time of its tree."""

    exit_code: int
    cpu_s: float
    interrupted: bool = False


@runtime_checkable
class Executor(Protocol):
    """Runs a command somewhere."""

    name: ClassVar[str]

    @classmethod
    def probe(cls) -> Availability: ...

    def run(self, command: Sequence[str]) -> Completed: ...


@runtime_checkable
class JobExecutor(Protocol):
    """Runs jobs that outlive the question: submitted now, held, started, paused, moved and watched by their keys.

    Everything returns at once; `observe` says what came of it, and drives what takes time (a checkpoint's grace). To
    ask twice is to ask once: a key that is there is not submitted again, a job that is held is held. Sites are names
    the executor maps to what it has: a node feature, a resource, a zone's label.

    Fails with ExecutorUnavailable (no answer: whether it was done must be looked up), NotPermitted, NotOffered (an
    ability it lacks), SiteUnknown, JobRefused, JobUnknown (no such key) and JobOver (it has ended; `cancel` of one that
    has is no error). Nothing else leaves an executor.
    """

    name: ClassVar[str]
    simulated: ClassVar[bool]

    @classmethod
    def probe(cls) -> Availability: ...

    @classmethod
    def make(cls, argument: str = "", *, folder: Path | None = None, now: Callable[[], datetime] | None = None) -> Self:
        """Of what is typed behind the colon of `name:argument` ("partition=eco,..."); raises UsageError.

        Args:
            folder: where it keeps what the scheduler does not; shared with the nodes where jobs run on others. None
                is the executor's default.
            now: the time in UTC; None is the system's clock.
        """

    @property
    def abilities(self) -> frozenset[Ability]: ...

    def sites(self) -> tuple[str, ...]:
        """Sites that can be named now, sorted; empty where it has no places to choose from."""

    def submit(self, request: JobRequest) -> JobStatus:
        """Ask for a job. Where a job of that key is there, in whatever state, that one is returned instead."""

    def find(self, key: str) -> JobStatus | None:
        """The job of that key, asked for freshly; None when it is not there."""

    def hold(self, key: str) -> None:
        """Keep one that has not started from starting. One that runs is not touched: `pause` that."""

    def release(self, key: str, *, begin: datetime | None = None) -> None:
        """Let one that is held, or waits for a later time, start: not before `begin`, or as soon as there is room."""

    def pause(self, key: str) -> None:
        """Stop one that runs: by its checkpoint, or in place with its memory kept. It goes on when resumed."""

    def resume(self, key: str) -> None: ...

    def move(self, key: str, site: str) -> None:
        """Let one that has not started, or is paused by its checkpoint, start at that site. It stays held if it was."""

    def cancel(self, key: str) -> None:
        """End it: SIGTERM, and SIGKILL when it does not go."""

    def observe(self, keys: Collection[str] | None = None) -> Mapping[str, JobStatus]:
        """All jobs of these keys, in one question; keys that are not there are left out. None is all of ours."""

    def close(self) -> None:
        """Let go of it. Jobs go on where it has the ability to survive."""


@dataclass(frozen=True, slots=True)
class ReceiptFilter:
    """Which receipts to list; an empty field does not filter."""

    batch: str = ""
    project: str = ""
    phase: str = ""
    run_id: str = ""
    within: Interval | None = None
    limit: int | None = None


@runtime_checkable
class Store(Protocol):
    """Keeps receipts, append-only. Fails with LedgerError."""

    name: ClassVar[str]

    @classmethod
    def probe(cls) -> Availability: ...

    def append(self, receipt: Receipt) -> str:
        """Keep it durably before returning; returns its content hash. The same receipt twice is kept once."""

    def get(self, address: str) -> Receipt:
        """By content hash or a unique prefix of it."""

    def receipts(self, which: ReceiptFilter) -> Iterator[tuple[str, Receipt]]: ...

    def verify(self) -> int:
        """Number of receipts checked. Raises LedgerCorrupt on the first altered or missing row."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ChainedReceipt:
    """A receipt where it stands in its ledger: its number, from 1, and its link of the hash chain."""

    number: int
    address: str
    chain: str
    receipt: Receipt


@runtime_checkable
class KeepsChain(Protocol):
    """What a store may offer beside `Store`: its receipts in one order that is proved by a hash chain (`core.chain`).

    Fails with LedgerError; with LedgerCorrupt where a receipt does not follow the one before it.
    """

    def head(self) -> tuple[int, str]:
        """Number and link of the last receipt; 0 and `GENESIS` of an empty one."""

    def chained(self, after: int = 0) -> Iterator[ChainedReceipt]:
        """Receipts `after` + 1 and on, in order, each checked as it is read."""

    def append_all(self, receipts: Sequence[Receipt]) -> tuple[str, ...]:
        """As `Store.append`, many with one flush, all or none; their addresses."""


class ViewKind(StrEnum):
    CARBON = "carbon"
    COST = "cost"


@dataclass(frozen=True, slots=True)
class View:
    """Carbon or money of one receipt under one set of factors. A receipt keeps every view ever taken of it.

    Attributes:
        receipt: address of the receipt.
        factor_set: SHA-256 of the rate and the factors, as the ledger room computes it.
        factors: where the rate came from, the rate's own factor first.
        value: the figure and its rate as plain JSON pairs, unit in every key.
        method: name and version of the arithmetic.
        computed_at: ISO 8601 in UTC; not part of what makes a view the same as another.
    """

    receipt: str
    kind: ViewKind
    factor_set: str
    factors: tuple[Factor, ...]
    value: tuple[tuple[str, str | float], ...]
    method: str
    computed_at: str


@runtime_checkable
class KeepsViews(Protocol):
    """What a store may offer beside `Store`: append-only views of its receipts, chained like them."""

    def append_views(self, views: Sequence[View]) -> int:
        """Keep them durably, all or none; returns how many were new.

        A view with the receipt, kind, factor set and method of one already kept is that one.
        """

    def views(self, address: str = "") -> Iterator[View]:
        """Views of the receipt at that address, or of all, in the order written."""


@runtime_checkable
class KeepsFollowings(Protocol):
    """What a store may offer beside `Store`: plans that are followed, each by one leader at a time.

    Bodies are JSON of the run room. A leader holds a lease that each of its writes renews; a write under a lease that
    somebody else has taken over is refused whole, with LeaseLost. Fails with LedgerError.
    """

    def append_all(self, receipts: Sequence[Receipt]) -> tuple[str, ...]:
        """As `Store.append`, many with one flush, all or none; their addresses."""

    def follow(self, following: str, body: str, bodies: Mapping[str, str]) -> bool:
        """Begin one, with its jobs by key, all or nothing; False when it is there already, and nothing changes."""

    def followings(self, *, over: bool | None = None) -> Iterator[tuple[str, str]]:
        """Ids and bodies, the oldest first; only those that are over, or not."""

    def followed(self, following: str) -> tuple[str, Mapping[str, str]]:
        """Body of it and of its jobs by key. Raises UsageError where there is none."""

    def lead(self, following: str, holder: str, *, ttl_s: float, gone: Callable[[str], bool]) -> Lease | None:
        """The lease, where nobody holds it, it has expired or `gone(holder)`; by the database's clock. Else None."""

    def leader(self, following: str) -> str:
        """Who holds the lease, or held it last; empty when it was let go."""

    def write(
        self,
        lease: Lease,
        *,
        ttl_s: float,
        body: str | None = None,
        bodies: Mapping[str, str] | None = None,
        taking: Sequence[tuple[str, StepKind, str, str]] = (),
        outcomes: Mapping[int, str] | None = None,
        over: bool | None = None,
    ) -> tuple[StepTaken, ...]:
        """Renew the lease, and keep what changed with it, durably, all or nothing.

        Args:
            body, bodies: new ones, of the following and of jobs by key.
            taking: (key, kind, detail, at) of steps that will be taken once this returns; it returns them numbered.
            outcomes: step number -> what came of it.
            over: whether all is done.
        """

    def steps(self, following: str, *, still_open: bool = False) -> Iterator[StepTaken]:
        """Steps in their order; only those of which nobody knows what came."""

    def let_go(self, lease: Lease) -> None:
        """Let somebody else lead at once."""


@runtime_checkable
class Exporter(Protocol):
    """Writes a report model to files of one kind."""

    name: ClassVar[str]

    def write(self, model: Mapping[str, object], path: Path) -> None: ...


@runtime_checkable
class RendersText(Protocol):
    """What an exporter may offer beside `Exporter`: the file as text, for a pipe."""

    def text(self, model: Mapping[str, Any]) -> str: ...


class Offer(StrEnum):
    """What a grid source can be asked for."""

    CARBON = "carbon"
    FORECAST = "forecast"
    PRICES = "prices"


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """What a grid source publishes, and how it wants to be asked.

    Attributes:
        offers: what it answers at all.
        meanings: the questions its carbon answers, its own choice first; empty where it has no carbon.
        steps_s: slot lengths it publishes [s]; empty where any may come.
        back_s: how far back from now it may be asked [s]; None without limit, 0 not at all.
        ahead_s: how far beyond now its answers reach [s]; None without limit.
        window_s: longest window of one request [s]; None without limit. A client splits what is longer.
        requests_per_hour: the published limit; None where none is stated or nothing is requested.
        needs_key: whether it must be given a key.
        attribution: what its licence asks to be said beside the figures.
    """

    offers: frozenset[Offer]
    meanings: tuple[CarbonMeaning, ...] = ()
    steps_s: tuple[float, ...] = ()
    back_s: float | None = None
    ahead_s: float | None = None
    window_s: float | None = None
    requests_per_hour: float | None = None
    needs_key: bool = False
    attribution: str = ""


@runtime_checkable
class GridSource(Protocol):
    """Carbon intensity and price of zones over time.

    Every series covers exactly the window asked for: slots are cut to it, what the source does not have is a `Gap`.
    A gap is never filled and never passed off as a reading: what the provider estimated is `ESTIMATED`, what is to
    come is `FORECAST`. Times are UTC. What it does not offer for that zone, window or meaning raises FactorMissing.

    Further failures: UnknownZone (with the nearest names), GridUnavailable (no network, no key, an outage), GridBusy
    (come back later), GridDataInvalid (an answer that cannot be right). Nothing else leaves a source.
    """

    name: ClassVar[str]

    @classmethod
    def probe(cls) -> Availability: ...

    @classmethod
    def make(cls, argument: str = "") -> Self:
        """Of what is typed behind the colon of `name:argument` (a path, a figure); raises UsageError."""

    @property
    def limits(self) -> SourceLimits: ...

    def zones(self) -> tuple[str, ...]:
        """Zones it knows without asking anybody, sorted; empty where only asking tells. Never a request."""

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        """What was, as far as it is known; slots still to come may be forecasts and say so.

        Args:
            meaning: one of `limits.meanings`; None takes the first.
        """

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        """The latest forecast; its origin says when it was issued."""

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        """Prices as published; those of a day-ahead auction are known before their time."""


@runtime_checkable
class SiteFactors(Protocol):
    """One figure a zone or region, for a site's month. Fails with FactorMissing, which lists the nearest names."""

    def zones(self) -> tuple[str, ...]: ...

    def intensity(self, zone: str) -> tuple[CarbonIntensity, Factor]: ...

    def price(self, zone: str) -> tuple[Price, Factor]: ...

    def pue(self, region: str) -> tuple[float, Factor]: ...

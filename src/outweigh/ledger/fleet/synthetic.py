"""A fleet that does not exist, for trying out, testing and timing. Nothing in it is real, and every segment says so.

Servers of 16 or 18 accelerators at four sites, held by a dozen made-up teams: some train for days, some serve with the
sun and the week, some hold machines that do nothing. Servers fail and are silent. Levels are round figures of the order
of 2026's machines, chosen here and measured by nobody. The same seed gives the same samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import UsageError
from outweigh.core.measurement import Grade, Method, Scope
from outweigh.ledger.fleet.minutes import DAY_S, MINUTE_S, HowKnown, Labels, Minutes
from outweigh.ledger.fleet.segments import append_minutes, has_fleet

DAY_MIN = 1_440
# Name (a grid zone beside it in `ZONES`), share of the servers, hours ahead of UTC.
SITES = (("fra-1", 0.35, 1), ("lul-1", 0.25, 1), ("iad-2", 0.25, -5), ("sin-1", 0.15, 8))
ZONES = {"fra-1": "DE", "lul-1": "SE-SE1", "iad-2": "US-MIDA-PJM", "sin-1": "SG"}
# Team, share of all holds, what it does, days it holds a server for (median).
TEAMS = (
    ("team-atlas", 0.16, "train", 3.0),
    ("team-borealis", 0.12, "train", 5.0),
    ("team-cedar", 0.10, "train", 1.5),
    ("team-search", 0.12, "serve", 9.0),
    ("team-support", 0.08, "serve", 12.0),
    ("team-translate", 0.07, "serve", 8.0),
    ("team-vision", 0.08, "train", 2.0),
    ("team-evals", 0.07, "burst", 0.3),
    ("research", 0.09, "desk", 4.0),
    ("interns-2026", 0.03, "desk", 2.0),
    ("team-speech", 0.05, "burst", 0.8),
    ("platform", 0.03, "desk", 15.0),
)
_FREE_SHARE = 0.22  # of the stretches of a server, in which nobody holds it
_FREE_DAYS = 0.35
_SILENT_A_DAY, _SILENT_MIN = 0.035, 75.0  # outages of a server a day, and their median length
_DOUBT = 0.05

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Shape:
    """What is made up.

    Attributes:
        servers: (how many, accelerators in each), in order of the servers' names.
        days: UTC days from `start`, which is midnight.
        seed: of all that is random.
    """

    servers: tuple[tuple[int, int], ...] = ((400, 16), (200, 18))
    days: int = 30
    start: datetime = datetime(2026, 10, 1, tzinfo=UTC)
    seed: int = 1

    @property
    def nodes(self) -> int:
        return sum(count for count, _ in self.servers)

    @property
    def gpus(self) -> int:
        return sum(count * gpus for count, gpus in self.servers)


TEN_THOUSAND = Shape()  # 600 servers with 10,000 accelerators for 30 days: 25.9 million minutes
SMALL = Shape(((33, 16), (17, 18)), days=2)


@dataclass(frozen=True, slots=True, eq=False)
class _Servers:
    site: NDArray[np.int32]
    ahead_h: NDArray[np.int64]
    gpus: NDArray[np.int32]
    idle_w: NDArray[np.float64]
    full_w: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Holds:
    """Stretches of all servers in order of server and time; `team` is -1 where nobody holds it. Minutes since start."""

    first: NDArray[np.int64]
    server: NDArray[np.int64]
    team: NDArray[np.int64]
    level: NDArray[np.float64]


def make(folder: Path, shape: Shape = TEN_THOUSAND, *, progress: Progress | None = None) -> int:
    """Make up a fleet's samples in an empty folder; returns how many.

    Args:
        folder: `fleet_folder(...)`; made when it is missing.
        progress: told what is being made, and how much of it is done (0 to 1).

    Raises:
        UsageError: there are samples in the folder, or the shape has no server or day, or begins within a day.
        MissingExtra, LedgerError: as `append_minutes`.
    """
    if has_fleet(folder):
        raise UsageError(f"there are samples in {folder} already", "Name an empty folder for what is made up")
    if shape.nodes < 1 or shape.days < 1 or shape.start.timestamp() % DAY_S:
        raise UsageError("a made-up fleet has servers, days, and begins at midnight in UTC", "Give a shape with them")
    rows = 0
    for number, minutes in enumerate(days(shape)):
        if progress is not None:
            progress("making up samples", number / shape.days)
        append_minutes(folder, minutes, how(shape))
        rows += len(minutes)
    return rows


def how(shape: Shape) -> HowKnown:
    """What the segments say of themselves."""
    source = f"made up by outweigh.ledger.fleet.synthetic, seed {shape.seed}: nothing was measured"
    return HowKnown(Scope.NODE, Grade.D, Method.REPLAYED, source, _DOUBT, synthetic=True)


def days(shape: Shape) -> Sequence[Minutes]:
    """The samples, day by day, made as they are asked for."""
    return _Days(shape)


class _Days(Sequence[Minutes]):
    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        random = np.random.default_rng(shape.seed)
        self._servers = _made_servers(shape, random)
        self._holds = _made_holds(shape, random)
        self._silences = _made_silences(shape, random)
        names, at = [], 0
        for count, gpus in shape.servers:
            names += [f"gpu{gpus}-{number:04d}" for number in range(at, at + count)]
            at += count
        self._names = tuple(names)

    def __len__(self) -> int:
        return self._shape.days

    @overload
    def __getitem__(self, number: int) -> Minutes: ...
    @overload
    def __getitem__(self, number: slice) -> list[Minutes]: ...
    def __getitem__(self, number: int | slice) -> Minutes | list[Minutes]:
        if isinstance(number, slice):
            return [self._day(each) for each in range(self._shape.days)[number]]
        return self._day(range(self._shape.days)[number])

    def _day(self, number: int) -> Minutes:
        shape, servers, holds = self._shape, self._servers, self._holds
        random = np.random.default_rng([shape.seed, number])
        n = shape.nodes
        minute = np.arange(number * DAY_MIN, (number + 1) * DAY_MIN)
        # Stretches are in order of server and time, so one search over both finds that of every minute.
        horizon = shape.days * DAY_MIN
        wanted = np.arange(n)[:, None] * horizon + minute[None, :]
        stretch = np.searchsorted(holds.server * horizon + holds.first, wanted.ravel(), side="right") - 1
        team, level = holds.team[stretch].reshape(n, -1), holds.level[stretch].reshape(n, -1)
        busy = _busy(team, level, servers.ahead_h, minute, shape.start, random)
        drawn = servers.idle_w[:, None] + busy**1.2 * (servers.full_w - servers.idle_w)[:, None]
        drawn *= 1.0 + 0.012 * random.standard_normal((n, DAY_MIN), dtype=np.float32)
        heard = ~self._silent(number)
        server = np.broadcast_to(np.arange(n, dtype=np.int32)[:, None], heard.shape)[heard]
        epoch_s = int(shape.start.timestamp()) + minute * MINUTE_S
        owner_names = ("", *(name for name, *_ in TEAMS))
        return Minutes(
            np.broadcast_to(epoch_s[None, :], heard.shape)[heard],
            Labels(server, self._names),
            Labels((team[heard] + 1).astype(np.int32), owner_names),
            Labels(servers.site[server], tuple(name for name, *_ in SITES)),
            np.round(np.maximum(drawn[heard], 0.0)).astype(np.float32),  # a baseboard controller tells whole watts
            servers.gpus[server],
            np.round(busy[heard], 2).astype(np.float32),
        )

    def _silent(self, number: int) -> NDArray[np.bool_]:
        server, first, end = self._silences
        silent = np.zeros((self._shape.nodes, DAY_MIN), bool)
        at = number * DAY_MIN
        for each in np.flatnonzero((first < at + DAY_MIN) & (end > at)).tolist():
            silent[server[each], max(0, first[each] - at) : min(DAY_MIN, end[each] - at)] = True
        return silent


def _made_servers(shape: Shape, random: np.random.Generator) -> _Servers:
    gpus = np.concatenate([np.full(count, each, np.int32) for count, each in shape.servers])
    shares = np.array([share for _, share, _ in SITES])
    site = random.choice(len(SITES), size=shape.nodes, p=shares / shares.sum()).astype(np.int32)
    ahead_h = np.array([ahead for *_, ahead in SITES])[site]
    idle_w = 750.0 + gpus * random.normal(62.0, 4.0, shape.nodes) + random.normal(0.0, 40.0, shape.nodes)
    full_w = idle_w + 450.0 + gpus * random.normal(470.0, 20.0, shape.nodes)
    return _Servers(site, ahead_h, gpus, idle_w, full_w)


def _made_holds(shape: Shape, random: np.random.Generator) -> _Holds:
    """Enough stretches for each server to cover the horizon, cut there."""
    horizon = shape.days * DAY_MIN
    shares = np.array([share for _, share, *_ in TEAMS])
    medians = np.array([median for *_, median in TEAMS]) * DAY_MIN
    per_server = 8
    while True:
        size = (shape.nodes, per_server)
        free = random.random(size) < _FREE_SHARE
        team = np.where(free, -1, random.choice(len(TEAMS), size=size, p=shares / shares.sum()))
        median = np.where(free, _FREE_DAYS * DAY_MIN, medians[team])
        lasting = np.maximum(20, median * random.lognormal(0.0, 0.7, size)).astype(np.int64)
        # The first stretch has begun some time before the first minute.
        lasting[:, 0] = np.maximum(1, (lasting[:, 0] * random.random(shape.nodes)).astype(np.int64))
        if lasting.sum(axis=1).min() >= horizon:
            break
        per_server *= 2
    first = np.cumsum(lasting, axis=1) - lasting
    within = first < horizon
    server = np.broadcast_to(np.arange(shape.nodes)[:, None], size)
    return _Holds(first[within], server[within], team[within], random.beta(5.0, 2.0, size)[within])


def _made_silences(
    shape: Shape, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    count = int(random.poisson(_SILENT_A_DAY * shape.nodes * shape.days))
    server = random.integers(0, shape.nodes, count)
    first = random.integers(0, shape.days * DAY_MIN, count)
    lasting = np.maximum(1, _SILENT_MIN * random.lognormal(0.0, 1.2, count)).astype(np.int64)
    return server, first, first + lasting


def _busy(
    team: NDArray[np.int64],
    level: NDArray[np.float64],
    ahead_h: NDArray[np.int64],
    minute: NDArray[np.int64],
    start: datetime,
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """Share of each minute in which the accelerators work, shape (servers, minutes)."""
    kinds = np.array([*(kind for _, _, kind, _ in TEAMS), "free"])[team]  # team -1 is the last
    local_h = (minute[None, :] / 60 + ahead_h[:, None]) % 24
    weekday = (start.weekday() + (minute[None, :] + 60 * ahead_h[:, None]) // DAY_MIN) % 7
    week = np.where(weekday < 5, 1.0, 0.72)
    sun = 0.5 - 0.5 * np.cos(2 * np.pi * (local_h - 4) / 24)
    blocks = random.random((team.shape[0], DAY_MIN // 15)).repeat(15, axis=1)  # what holds for a quarter of an hour
    noise = random.standard_normal(team.shape, dtype=np.float32)
    at_desk = (local_h > 9) & (local_h < 19) & (weekday < 5)
    busy = np.select(
        [kinds == "train", kinds == "serve", kinds == "burst", kinds == "desk"],
        [
            np.where(blocks < 0.04, 0.02, 0.90 + 0.05 * level),  # now and then it saves its state
            level * (0.01 + 0.99 * sun) * week,  # at night there is little to do
            np.where(blocks < 0.45, 0.85 * level, 0.0),
            np.where(at_desk & (blocks < 0.35), 0.6 * level, 0.0),
        ],
        0.0,
    )
    return np.where(busy > 0, np.clip(busy + 0.02 * noise, 0.0, 1.0), 0.0)

"""What to try next: each lever on its own first, then what Optuna proposes from what was seen.

The study lies in the search's own file. A proposal depends on the seed, its number and the trials of earlier batches,
never on how many workers there are or on when the search was last stopped: each gets a sampler seeded for it alone,
and results are told a batch at a time, in the order of the trials.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from outweigh.core.errors import LedgerError, MissingExtra
from outweigh.shrink.search_space import NOTHING, Combination, Space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

BATCH = 4  # trials proposed before the sampler is told of any: the same with one worker and with many
_TRIES = 8  # proposals that were tried before, until one is drawn from those that were not

#: Optuna is told ratios in steps of 5 %: what a first look cannot tell apart should not steer the search.
_STEP = math.log(1.05)


@dataclass(frozen=True, slots=True)
class Proposal:
    number: int  # of the trial, counted by Optuna
    combination: Combination


class Proposer:
    """An Optuna study over a space: energy and latency ratio to minimise, under constraints (at most 0 is met).

    Args:
        path: SQLite file to keep it in.
        known: says, as things stand when it is called, whether a combination was tried or begins with levers that were
            seen to fail.

    Raises:
        MissingExtra: optuna is not installed.
        LedgerError: the file cannot be used.
    """

    def __init__(self, path: Path, space: Space, seed: int, known: Callable[[], Callable[[Combination], bool]]) -> None:
        self._optuna = _need_optuna()
        self._space, self._seed, self._known = space, seed, known
        self._path = path
        choices = self._optuna.distributions.CategoricalDistribution
        self._distributions = {family: choices([NOTHING, *members]) for family, members in space.families}
        with self._told():
            storage = self._optuna.storages.RDBStorage(
                f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 30}}
            )
            self._engine = storage.engine
            self._study = self._optuna.create_study(
                storage=storage, study_name="shrink", directions=["minimize", "minimize"], load_if_exists=True
            )

    def close(self) -> None:
        self._engine.dispose()

    def batch(self, room: int) -> list[Proposal]:
        """What to look at next, at most a batch of it: first what was proposed before a stop and not yet told.

        Args:
            room: how many more trials there may be.

        Returns:
            Nothing when every combination was tried or is known to fail.
        """
        with self._told():
            known, pending = self._known(), list(self._pending())
            if any(known(proposal.combination) for proposal in pending):
                return pending  # the batch was whole, and was being measured or told
            while len(pending) < min(BATCH, room):
                found = self._next({proposal.combination for proposal in pending}, known)
                if found is None:
                    break
                pending.append(found)
        return pending

    def tell(self, number: int, ratios: tuple[float, float] | None, constraints: Mapping[str, float]) -> None:
        """What was seen of a trial: energy and latency ratio, and how far each constraint is from being met.

        None for a combination that cannot be had. Telling a trial twice changes nothing.
        """
        trial_module = self._optuna.trial
        with self._told():
            frozen = next(trial for trial in self._study.get_trials(deepcopy=False) if trial.number == number)
            if frozen.state.is_finished():
                return
            if ratios is None:
                self._study.tell(number, state=trial_module.TrialState.FAIL)
                return
            trial = trial_module.Trial(self._study, frozen._trial_id)
            for key, value in constraints.items():
                if f"constraints:{key}" not in frozen.system_attrs:
                    trial.set_constraint(key, value)
            self._study.tell(number, [_stepped(ratio) for ratio in ratios])

    def _pending(self) -> Iterator[Proposal]:
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state != self._optuna.trial.TrialState.RUNNING:
                continue
            if set(trial.params) == set(self._distributions) and (found := self._combination(trial)):
                yield Proposal(trial.number, found)
            else:  # stopped in the middle of proposing it
                self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)

    def _next(self, beside: set[Combination], known: Callable[[Combination], bool]) -> Proposal | None:
        def is_new(combination: Combination) -> bool:
            return bool(combination) and combination not in beside and not known(combination)

        for single in self._space.singles():
            if is_new(single):
                return self._ask(single)
        if self._space.is_listable():
            left = [one for one in self._space.combinations() if is_new(one)]
            if not left:
                return None
            if len(left) <= BATCH:
                return self._ask(left[0])
        for _ in range(_TRIES):
            found = self._ask(None)
            if is_new(found.combination):
                return found
            self._study.tell(found.number, state=self._optuna.trial.TrialState.FAIL)
        rng = np.random.default_rng([self._seed, self._number()])
        if self._space.is_listable():
            return self._ask(left[int(rng.integers(len(left)))])
        for _ in range(1_000):
            drawn = self._space.drawn(rng)
            if is_new(drawn):
                return self._ask(drawn)
        return None

    def _ask(self, combination: Combination | None) -> Proposal:
        if combination is not None:
            self._study.enqueue_trial(self._space.as_choices(combination))
        self._study.sampler = self._optuna.samplers.TPESampler(
            # One generator for each trial, so that a search that was stopped goes on as if it had not been.
            seed=int(np.random.default_rng([self._seed, self._number()]).integers(2**31)),
            multivariate=True,
            n_startup_trials=len(self._space.levers) + 1,
        )
        trial = self._study.ask(self._distributions)
        return Proposal(trial.number, self._space.from_choices(trial.params))

    def _number(self) -> int:
        return len(self._study.get_trials(deepcopy=False))

    def _combination(self, trial: FrozenTrial) -> Combination:
        return self._space.from_choices(trial.params)

    @contextmanager
    def _told(self) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError

        failures = (SQLAlchemyError, self._optuna.exceptions.StorageInternalError)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
                yield
        except failures as err:
            raise LedgerError(
                str(self._path), f"the study cannot be kept ({err})", "Check the disk, or remove the file to start anew"
            ) from err


def _stepped(ratio: float) -> float:
    return math.exp(_STEP * round(math.log(ratio) / _STEP))


def _need_optuna() -> Any:
    try:
        import optuna
    except ImportError as err:
        raise MissingExtra("optuna", "shrink --search", "Run: pip install 'outweigh[search]'") from err
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna

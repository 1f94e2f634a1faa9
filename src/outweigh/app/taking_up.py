"""`run --resume ID` and `--cancel ID`: a plan or a command that is on its way, taken up again or ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from outweigh.app.files import find_ledger
from outweigh.app.supervising import Options, Told, exit_code_of, open_executor, own_code, supervise, what_came
from outweigh.core.errors import UsageError
from outweigh.ledger import open_ledger
from outweigh.ports import KeepsFollowings
from outweigh.run.following import Following
from outweigh.run.supervisor import Cycle


def take_up(
    name: str, options: Options, *, cancel: bool = False, told: Told = lambda _: None,
    shown: Callable[[Cycle, int], None] = lambda _cycle, _jobs: None,
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    """Go on with a following on the executor it began on, from any folder; or end its jobs and close it.

    Args:
        name: its id, or a beginning of it that no other has.
        options: `on`, `again`, the clock, the project and the phase are as it began.
        cancel: end what has not ended. What was done stays, with its receipts.

    Returns:
        Exit code, and what came of it, of schema outweigh.run/1. The code is that of `exit_code_of`, and the command's
        own where it is a single one; 0 when it was cancelled.

    Raises:
        UsageError: there is none of that id, or another supervisor leads what is to be cancelled.
        ExecutorError, MissingExtra: the executor is not here. LedgerError: nor the ledger.
        LeaseLost: another supervisor took over.
    """
    store: Any = open_ledger(find_ledger(options.ledger), create=False)
    try:
        following = _found(store, name)
        body, _ = Following.read(store, following)
        if following in {each for each, _ in store.followings(over=True)}:
            told("it is over, and this is what came of it")
            came = what_came(store, following)
        else:
            executor = options.executor or open_executor(body.on)
            try:
                told(f"{'cancelling' if cancel else 'going on with'} {following} on {body.on}")
                came = supervise(store, executor, following, options, told=told, shown=shown, cancel=cancel)
            finally:
                executor.close()
        if cancel:
            return 0, came
        return own_code(came) if body.document.get("one_command") else exit_code_of(came), came
    finally:
        store.close()


def _found(store: Any, name: str) -> str:
    names = [each for each, _ in store.followings()] if isinstance(store, KeepsFollowings) else []
    found = [each for each in names if each.startswith(name)] if name else []
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} followings begin with {name!r}" if found else f"nothing of the id {name!r} is followed here"
    raise UsageError(what, "`outweigh run --list` shows what is; --ledger names another ledger")

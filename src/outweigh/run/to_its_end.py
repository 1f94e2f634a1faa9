"""A supervisor that goes on until all is over: it stands by while another one leads, and waits for its database."""

from __future__ import annotations

import time
from collections.abc import Callable

from outweigh.core.errors import LedgerCorrupt, LedgerError
from outweigh.run.supervisor import Cycle, Supervisor


def follow_to_its_end(
    supervisor: Supervisor,
    *,
    sleep: Callable[[float], None] = time.sleep,
    shown: Callable[[Cycle], None] = lambda _: None,
) -> None:
    """Cycle until all is over. While another supervisor leads this one stands by; a database that is away is waited
    for, and nothing is asked of the executor meanwhile.

    Raises:
        LeaseLost: another one took over.
    """
    rules, told = supervisor.rules, ""
    while True:
        try:
            if supervisor.lease is None and not supervisor.lead():
                if supervisor.keeper_says_over():
                    return
                if told != "led":
                    supervisor.say("another supervisor leads this plan; this one stands by")
                told = "led"
                sleep(rules.every_s)
                continue
            done = supervisor.cycle()
            told = ""
            shown(done)
            if done.over:
                supervisor.let_go()
                return
            if done.more:
                continue
        except LedgerCorrupt:
            raise
        except LedgerError as err:
            if told != str(err):
                supervisor.say(f"{err}. It is tried again; nothing is asked of {supervisor.executor.name} meanwhile")
            told = str(err)
        sleep(rules.every_s)

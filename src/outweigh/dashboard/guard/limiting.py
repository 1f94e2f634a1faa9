"""How often one may ask: a moving window of a minute, of each worker's own memory."""

from __future__ import annotations

import math
import time

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

#: Secrets that were wrong, from one address in a minute. What holds is guessed once in 2^255 tries anyway; this keeps
#: guessing from costing us a look at the database each.
WRONG_PER_MINUTE = 20


class Limiter:
    """Requests by token or address, and wrong secrets by address. 0 requests a minute is no limit."""

    def __init__(self, per_minute: int) -> None:
        self._window = MovingWindowRateLimiter(MemoryStorage())
        self._asked = RateLimitItemPerMinute(per_minute, namespace="asked") if per_minute else None
        self._wrong = RateLimitItemPerMinute(WRONG_PER_MINUTE, namespace="wrong")

    async def wait_s(self, who: str) -> int:
        """Count a request; 0 lets it through, else in how many whole seconds there is room again."""
        if self._asked is None or await self._window.hit(self._asked, who):
            return 0
        return await self._until(self._asked, who)

    async def wrong_wait_s(self, address: str) -> int:
        """0 as long as few secrets from there were wrong."""
        if await self._window.test(self._wrong, address):
            return 0
        return await self._until(self._wrong, address)

    async def was_wrong(self, address: str) -> None:
        await self._window.hit(self._wrong, address)

    async def _until(self, item: RateLimitItemPerMinute, who: str) -> int:
        free_at, _ = await self._window.get_window_stats(item, who)
        return max(1, math.ceil(free_at - time.time()))

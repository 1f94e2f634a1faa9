"""Plans that are followed, in the database of the ledger: bodies as text, one leader each, steps written first.

Who leads is a lease in the row of the following. Every write of a leader looks at the lease's fence in the same
transaction, so a leader that was replaced while it slept writes nothing any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, text, update

from outweigh.backends.stores._sql import SqlLedger, followings
from outweigh.backends.stores._sql import followed_jobs as jobs
from outweigh.backends.stores._sql import followed_steps as steps
from outweigh.core.errors import LeaseLost, UsageError
from outweigh.core.following import Lease, StepKind, StepTaken

# A lease is between processes, perhaps on several machines: only the database's own clock is one they share.
_NOW = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
}


class SqlFollowings:
    """Followings in an open ledger. Errors of the database are translated by the store."""

    def __init__(self, ledger: SqlLedger) -> None:
        self._ledger = ledger

    def follow(self, following: str, body: str, bodies: Mapping[str, str]) -> bool:
        with self._ledger.writing() as connection:
            if connection.execute(select(followings.c.id).where(followings.c.id == following)).first() is not None:
                return False
            now_s = _now(connection)
            connection.execute(
                insert(followings).values(
                    id=following, body=body, begun=now_s, holder="", fence=0, expires=0.0, steps=0, over=0
                )
            )
            if bodies:
                connection.execute(
                    insert(jobs), [{"key": key, "following": following, "body": each} for key, each in bodies.items()]
                )
        return True

    def followings(self, *, over: bool | None = None) -> Iterator[tuple[str, str]]:
        query = select(followings.c.id, followings.c.body).order_by(followings.c.begun, followings.c.id)
        if over is not None:
            query = query.where(followings.c.over == int(over))
        with self._ledger.engine.connect() as connection:
            rows = connection.execute(query).all()
        yield from ((row.id, row.body) for row in rows)

    def followed(self, following: str) -> tuple[str, Mapping[str, str]]:
        with self._ledger.engine.connect() as connection:
            body = connection.execute(select(followings.c.body).where(followings.c.id == following)).scalar()
            rows = connection.execute(
                select(jobs.c.key, jobs.c.body).where(jobs.c.following == following).order_by(jobs.c.key)
            ).all()
        if body is None:
            raise UsageError(f"no plan is followed as {following!r}", "`outweigh run --list` shows those that are")
        return str(body), {row.key: row.body for row in rows}

    def lead(self, following: str, holder: str, *, ttl_s: float, gone: Callable[[str], bool]) -> Lease | None:
        with self._ledger.writing() as connection:
            row = connection.execute(
                select(followings.c.holder, followings.c.fence, followings.c.expires)
                .where(followings.c.id == following)
                .with_for_update()
            ).one_or_none()
            if row is None:
                raise UsageError(f"no plan is followed as {following!r}", "`outweigh run --list` shows those that are")
            now_s = _now(connection)
            free = not row.holder or row.holder == holder or row.expires <= now_s or gone(row.holder)
            if not free:
                return None
            fence = row.fence + 1
            connection.execute(
                update(followings)
                .where(followings.c.id == following)
                .values(holder=holder, fence=fence, expires=now_s + ttl_s)
            )
        return Lease(following, holder, fence)

    def leader(self, following: str) -> str:
        with self._ledger.engine.connect() as connection:
            query = select(followings.c.holder).where(followings.c.id == following)
            return str(connection.execute(query).scalar() or "")

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
        with self._ledger.writing() as connection:
            number = self._held(connection, lease)
            values: dict[str, Any] = {"expires": _now(connection) + ttl_s}
            if body is not None:
                values["body"] = body
            if over is not None:
                values["over"] = int(over)
            if taking:
                values["steps"] = number + len(taking)
            connection.execute(update(followings).where(followings.c.id == lease.following).values(**values))
            if bodies:
                connection.execute(
                    update(jobs).where(jobs.c.key == bindparam("which")).values(body=bindparam("new")),
                    [{"which": key, "new": each} for key, each in bodies.items()],
                )
            taken = tuple(
                StepTaken(number + 1 + i, key, kind, detail, at, lease.fence)
                for i, (key, kind, detail, at) in enumerate(taking)
            )
            if taken:
                connection.execute(insert(steps), [_step_row(lease.following, step) for step in taken])
            if outcomes:
                connection.execute(
                    update(steps)
                    .where(steps.c.following == lease.following, steps.c.number == bindparam("which"))
                    .values(outcome=bindparam("new")),
                    [{"which": n, "new": outcome} for n, outcome in outcomes.items()],
                )
        return taken

    def steps(self, following: str, *, still_open: bool = False) -> Iterator[StepTaken]:
        query = select(steps).where(steps.c.following == following).order_by(steps.c.number)
        if still_open:
            query = query.where(steps.c.outcome == "")
        with self._ledger.engine.connect() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            yield StepTaken(row.number, row.key, StepKind(row.kind), row.detail, row.at, row.fence, row.outcome)

    def let_go(self, lease: Lease) -> None:
        with self._ledger.writing() as connection:
            connection.execute(
                update(followings)
                .where(followings.c.id == lease.following, followings.c.fence == lease.fence)
                .values(holder="", expires=0.0)
            )

    def _held(self, connection: Connection, lease: Lease) -> int:
        row = connection.execute(
            select(followings.c.holder, followings.c.fence, followings.c.steps)
            .where(followings.c.id == lease.following)
            .with_for_update()
        ).one_or_none()
        if row is None or row.fence != lease.fence or row.holder != lease.holder:
            other = "nobody" if row is None or not row.holder else row.holder
            raise LeaseLost(lease.following, other, "Let that one go on; this one wrote nothing and stops")
        return int(row.steps)


def _step_row(following: str, step: StepTaken) -> dict[str, Any]:
    return {
        "following": following, "number": step.number, "key": step.key, "kind": step.kind.value,
        "detail": step.detail, "at": step.at, "fence": step.fence, "outcome": step.outcome,
    }  # fmt: skip


def _now(connection: Connection) -> float:
    return float(connection.execute(text(_NOW[connection.dialect.name])).scalar_one())

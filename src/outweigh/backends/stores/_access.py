"""Who may ask a server for what, in the database of the ledger, so that it holds over several workers.

Of a secret only its SHA-256 is kept: the secrets are random, 256 bits long, and so need no salt and no slow hash.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping, and_, delete, insert, or_, select, update

from outweigh.backends.stores._sql import SqlLedger, answers, audit_lines, sessions, tokens
from outweigh.ports.serving import Answered, AuditLine, Role, Token


class SqlAccess:
    """Tokens, sessions, audit and answers in an open ledger. Errors of the database are translated by the store."""

    def __init__(self, ledger: SqlLedger) -> None:
        self._ledger = ledger

    def make_token(self, token: Token) -> None:
        row = {field: getattr(token, field) for field in Token.__slots__} | {"role": token.role.value}
        with self._ledger.writing() as connection:
            connection.execute(insert(tokens).values(**row))

    def tokens(self) -> tuple[Token, ...]:
        with self._ledger.engine.connect() as connection:
            rows = connection.execute(select(tokens).order_by(tokens.c.number)).mappings().all()
        return tuple(_token(row) for row in rows)

    def token_of(self, digest: str) -> Token | None:
        with self._ledger.engine.connect() as connection:
            row = connection.execute(select(tokens).where(tokens.c.digest == digest)).mappings().one_or_none()
        return None if row is None else _token(row)

    def revoke_token(self, token: str, *, at: str) -> bool:
        with self._ledger.writing() as connection:
            if connection.execute(select(tokens.c.number).where(tokens.c.id == token)).first() is None:
                return False
            connection.execute(
                update(tokens).where(tokens.c.id == token, tokens.c.revoked_at.is_(None)).values(revoked_at=at)
            )
            connection.execute(delete(sessions).where(sessions.c.token == token))
        return True

    def any_token(self, *, at: str) -> bool:
        holds = and_(tokens.c.revoked_at.is_(None), or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > at))
        with self._ledger.engine.connect() as connection:
            return connection.execute(select(tokens.c.number).where(holds).limit(1)).first() is not None

    def begin_session(self, digest: str, token: str, *, at: str, until: str) -> None:
        with self._ledger.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.until <= at))
            connection.execute(insert(sessions).values(digest=digest, token=token, begun_at=at, until=until))

    def session_of(self, digest: str, *, at: str) -> Token | None:
        query = select(tokens).join(sessions, sessions.c.token == tokens.c.id)
        query = query.where(sessions.c.digest == digest, sessions.c.until > at)
        with self._ledger.engine.connect() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _token(row)

    def end_session(self, digest: str) -> None:
        with self._ledger.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.digest == digest))

    def note(self, line: AuditLine) -> None:
        row = {field: getattr(line, field) for field in AuditLine.__slots__ if field != "number"}
        with self._ledger.writing() as connection:
            connection.execute(insert(audit_lines).values(**row))

    def audit(self, *, after: int | None, limit: int) -> tuple[AuditLine, ...]:
        query = select(audit_lines).order_by(audit_lines.c.number.desc()).limit(limit)
        if after is not None:
            query = query.where(audit_lines.c.number < after)
        with self._ledger.engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(AuditLine(**row) for row in rows)

    def asked_before(self, who: str, key: str, request: str, *, at: str, forget: str) -> Answered:
        row: dict[str, Any] = {"who": who, "key": key, "request": request, "status": 0, "body": "", "at": at}
        # Whoever comes second waits for the first one's row here, instead of failing on its key.
        with self._ledger.lined_up() as connection:
            connection.execute(delete(answers).where(answers.c.at < forget))
            found = connection.execute(select(answers).where(answers.c.who == who, answers.c.key == key)).one_or_none()
            if found is not None:
                return Answered(found.request, found.status, found.body)
            connection.execute(insert(answers).values(**row))
        return Answered(request, 0, "")

    def answered(self, who: str, key: str, status: int, body: str) -> Answered:
        mine = and_(answers.c.who == who, answers.c.key == key)
        with self._ledger.writing() as connection:
            connection.execute(update(answers).where(mine, answers.c.status == 0).values(status=status, body=body))
            kept = connection.execute(select(answers).where(mine)).one_or_none()
        return Answered("", status, body) if kept is None else Answered(kept.request, kept.status, kept.body)


def _token(row: RowMapping) -> Token:
    return Token(
        id=row["id"],
        name=row["name"],
        role=Role(row["role"]),
        digest=row["digest"],
        made_at=row["made_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )

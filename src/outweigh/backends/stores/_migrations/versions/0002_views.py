"""Views: carbon and money of receipts under one set of factors or another, hash-chained beside them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SQLITE_TRIGGERS = (
    """CREATE TRIGGER views_are_never_changed BEFORE UPDATE ON views
       BEGIN SELECT RAISE(ABORT, 'views are append-only'); END""",
    """CREATE TRIGGER views_are_never_removed BEFORE DELETE ON views
       BEGIN SELECT RAISE(ABORT, 'views are append-only'); END""",
    """CREATE TRIGGER views_head_moves_by_one BEFORE UPDATE ON views_head
       WHEN NEW.id IS NOT OLD.id OR NEW.kept IS NOT OLD.kept + 1
       BEGIN SELECT RAISE(ABORT, 'the head of the views moves on by one'); END""",
    """CREATE TRIGGER views_head_is_never_removed BEFORE DELETE ON views_head
       BEGIN SELECT RAISE(ABORT, 'the head of the views stays'); END""",
)

_POSTGRESQL_TRIGGERS = (
    """CREATE FUNCTION views_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN RAISE EXCEPTION 'views are append-only' USING ERRCODE = 'restrict_violation'; END $$""",
    """CREATE TRIGGER views_are_never_changed BEFORE UPDATE OR DELETE ON views
       FOR EACH ROW EXECUTE FUNCTION views_are_append_only()""",
    """CREATE TRIGGER views_are_never_emptied BEFORE TRUNCATE ON views
       FOR EACH STATEMENT EXECUTE FUNCTION views_are_append_only()""",
    """CREATE TRIGGER views_head_moves_by_one BEFORE UPDATE ON views_head FOR EACH ROW
       WHEN (NEW.id IS DISTINCT FROM OLD.id OR NEW.kept IS DISTINCT FROM OLD.kept + 1)
       EXECUTE FUNCTION views_are_append_only()""",
    """CREATE TRIGGER views_head_is_never_removed BEFORE DELETE OR TRUNCATE ON views_head
       FOR EACH STATEMENT EXECUTE FUNCTION views_are_append_only()""",
)


def upgrade() -> None:
    op.create_table(
        "views",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("address", sa.Text, nullable=False, unique=True),
        sa.Column("receipt", sa.Text, sa.ForeignKey("receipts.address"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("factor_set", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("prev_chain", sa.Text, nullable=False),
        sa.Column("chain", sa.Text, nullable=False),
        sa.UniqueConstraint("receipt", "kind", "factor_set", "method", name="views_are_kept_once"),
    )
    head = op.create_table(
        "views_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kept", sa.Integer, nullable=False),
        sa.Column("chain", sa.Text, nullable=False),
        sa.CheckConstraint("id = 1", name="views_head_is_one_row"),
    )
    op.bulk_insert(head, [{"id": 1, "kept": 0, "chain": "0" * 64}])
    for trigger in {"sqlite": _SQLITE_TRIGGERS, "postgresql": _POSTGRESQL_TRIGGERS}[op.get_bind().dialect.name]:
        op.execute(trigger)

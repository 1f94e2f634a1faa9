"""Receipts, hash-chained, and the head of the chain.

A migration is history: it spells its tables out and imports nothing of ours, so that it does the same for ever.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A receipt is never changed nor removed, and the head only ever moves on by one. The triggers stop accidents
# and honest tools; whoever drops them is found by the chain.
_SQLITE_TRIGGERS = (
    """CREATE TRIGGER receipts_are_never_changed BEFORE UPDATE ON receipts
       BEGIN SELECT RAISE(ABORT, 'receipts are append-only'); END""",
    """CREATE TRIGGER receipts_are_never_removed BEFORE DELETE ON receipts
       BEGIN SELECT RAISE(ABORT, 'receipts are append-only'); END""",
    """CREATE TRIGGER ledger_head_moves_by_one BEFORE UPDATE ON ledger_head
       WHEN NEW.id IS NOT OLD.id OR NEW.kept IS NOT OLD.kept + 1
       BEGIN SELECT RAISE(ABORT, 'the head of the ledger moves on by one'); END""",
    """CREATE TRIGGER ledger_head_is_never_removed BEFORE DELETE ON ledger_head
       BEGIN SELECT RAISE(ABORT, 'the head of the ledger stays'); END""",
)

_POSTGRESQL_TRIGGERS = (
    """CREATE FUNCTION receipts_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN RAISE EXCEPTION 'receipts are append-only' USING ERRCODE = 'restrict_violation'; END $$""",
    """CREATE FUNCTION ledger_head_moves_by_one() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN RAISE EXCEPTION 'the head of the ledger moves on by one' USING ERRCODE = 'restrict_violation'; END $$""",
    """CREATE TRIGGER receipts_are_never_changed BEFORE UPDATE OR DELETE ON receipts
       FOR EACH ROW EXECUTE FUNCTION receipts_are_append_only()""",
    """CREATE TRIGGER receipts_are_never_emptied BEFORE TRUNCATE ON receipts
       FOR EACH STATEMENT EXECUTE FUNCTION receipts_are_append_only()""",
    """CREATE TRIGGER ledger_head_moves_by_one BEFORE UPDATE ON ledger_head FOR EACH ROW
       WHEN (NEW.id IS DISTINCT FROM OLD.id OR NEW.kept IS DISTINCT FROM OLD.kept + 1)
       EXECUTE FUNCTION ledger_head_moves_by_one()""",
    """CREATE TRIGGER ledger_head_is_never_removed BEFORE DELETE OR TRUNCATE ON ledger_head
       FOR EACH STATEMENT EXECUTE FUNCTION ledger_head_moves_by_one()""",
)


def upgrade() -> None:
    op.create_table(
        "receipts",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("address", sa.Text, nullable=False, unique=True),
        sa.Column("run_id", sa.Text, nullable=False, unique=True),
        sa.Column("batch", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("variant", sa.Text, nullable=False),
        sa.Column("started", sa.Text, nullable=False),
        sa.Column("ended", sa.Text, nullable=False),
        sa.Column("energy_j", sa.Double, nullable=False),
        sa.Column("grade", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("prev_chain", sa.Text, nullable=False),
        sa.Column("chain", sa.Text, nullable=False),
    )
    op.create_index("receipts_by_batch", "receipts", ["batch"])
    op.create_index("receipts_by_start", "receipts", ["started"])
    head = op.create_table(
        "ledger_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kept", sa.Integer, nullable=False),
        sa.Column("chain", sa.Text, nullable=False),
        sa.CheckConstraint("id = 1", name="ledger_head_is_one_row"),
    )
    op.bulk_insert(head, [{"id": 1, "kept": 0, "chain": "0" * 64}])
    for trigger in {"sqlite": _SQLITE_TRIGGERS, "postgresql": _POSTGRESQL_TRIGGERS}[op.get_bind().dialect.name]:
        op.execute(trigger)

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
    if op.get_bind().dialect.name == "sqlite":
        for trigger in _SQLITE_TRIGGERS:
            op.execute(trigger)

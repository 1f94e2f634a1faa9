"""Followings: plans that are carried out, with who leads each, its jobs and the steps taken for them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "followings",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("begun", sa.Double, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.Column("steps", sa.Integer, nullable=False),
        sa.Column("over", sa.Integer, nullable=False),
    )
    op.create_table(
        "followed_jobs",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("following", sa.Text, sa.ForeignKey("followings.id"), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("followed_jobs_by_following", "followed_jobs", ["following"])
    op.create_table(
        "followed_steps",
        sa.Column("following", sa.Text, sa.ForeignKey("followings.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
    )

"""Public keys, each with a row of `device` that has its label and bounds.

A migration stands by itself: it imports none of the tables, which go on changing after it. Forward only.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ssh_key",
        sa.Column("device", sa.LargeBinary(length=16), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False, comment="the blob of RFC 4253 6.6, sealed"),
        sa.Column(
            "needs_code",
            sa.Boolean(),
            nullable=False,
            comment="good only together with a code of the second factor",
        ),
        sa.ForeignKeyConstraint(["device"], ["device.id"], name=op.f("ssh_key_device_fkey")),
        sa.PrimaryKeyConstraint("device", name=op.f("ssh_key_pkey")),
        comment="A public key. Label, bounds and end stand in its row of device, whose digest is keyed.",
    )

"""The first transient tables.

A migration stands by itself: it imports none of the tables, which go on changing after it. Forward only.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _brake_act()
    _brake_day()
    _clock()
    _last_used()
    _lease()
    _lock()
    _read_seen()
    _reservation()
    _throttle()


def _brake_act() -> None:
    op.create_table(
        "brake_act",
        sa.Column("subject", sa.LargeBinary(length=16), nullable=False),
        sa.Column("document", sa.LargeBinary(length=16), nullable=False),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False, comment="of the first change within a window"),
        sa.Column("until", sa.BigInteger(), nullable=False, comment="a window later"),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("weight", sa.BigInteger(), nullable=False, comment="of a folder: how many documents were in it"),
        sa.PrimaryKeyConstraint("subject", "document", name=op.f("brake_act_pkey")),
        comment="Documents lately rewritten, deleted or moved, each once a window.",
    )
    op.create_index("brake_act_by_time", "brake_act", ["subject", "until"], unique=False)


def _brake_day() -> None:
    op.create_table(
        "brake_day",
        sa.Column("subject", sa.LargeBinary(length=16), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False, comment="days since 1970, UTC"),
        sa.Column("most", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "day", name=op.f("brake_day_pkey")),
        comment="The most of one window of a day that goes on.",
    )


def _clock() -> None:
    op.create_table(
        "clock",
        sa.Column("one", sa.SmallInteger(), autoincrement=False, nullable=False, comment="always 1: there is one row"),
        sa.Column("at", sa.BigInteger(), nullable=False, comment="what it said last"),
        sa.Column("since", sa.BigInteger(), nullable=False, comment="when it began to go on without a jump"),
        sa.Column("sure", sa.BigInteger(), nullable=False, comment="which moment has surely come"),
        sa.PrimaryKeyConstraint("one", name=op.f("clock_pkey")),
        comment="What the clock said, noted now and then: nothing goes for good by one that has jumped.",
    )


def _last_used() -> None:
    op.create_table(
        "last_used",
        sa.Column("device", sa.LargeBinary(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("sealed_address", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("device", name=op.f("last_used_pkey")),
    )


def _lease() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.LargeBinary(length=32), nullable=False),
        sa.Column("holder", sa.LargeBinary(length=16), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("lease_pkey")),
    )


def _lock() -> None:
    op.create_table(
        "lock",
        sa.Column("token", sa.LargeBinary(length=16), nullable=False),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("parent", sa.LargeBinary(length=16), nullable=False),
        sa.Column("lane", sa.LargeBinary(length=16), nullable=False),
        sa.Column("folded", sa.LargeBinary(), nullable=False),
        sa.Column(
            "node",
            sa.LargeBinary(length=16),
            nullable=False,
            comment="what stood there when it was taken; empty: nothing",
        ),
        sa.Column("principal", sa.LargeBinary(length=16), nullable=False),
        sa.Column("organisation", sa.LargeBinary(length=16), nullable=False),
        sa.Column("device", sa.LargeBinary(length=16), nullable=False),
        sa.Column("is_deep", sa.Boolean(), nullable=False, comment="RFC 4918 Depth: infinity"),
        sa.Column("is_shared", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.LargeBinary(), nullable=False, comment="what the client said of its owner, sealed"),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token", name=op.f("lock_pkey")),
    )
    op.create_index("lock_by_name", "lock", ["parent", "lane", "folded"], unique=False)
    op.create_index("lock_by_principal", "lock", ["principal"], unique=False)
    op.create_index("lock_by_space", "lock", ["space"], unique=False)


def _read_seen() -> None:
    op.create_table(
        "read_seen",
        sa.Column("device", sa.LargeBinary(length=16), nullable=False),
        sa.Column("version", sa.LargeBinary(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device", "version", name=op.f("read_seen_pkey")),
        comment="Reads already numbered: one version by one device within ten minutes is one event.",
    )


def _reservation() -> None:
    op.create_table(
        "reservation",
        sa.Column("draft", sa.LargeBinary(length=16), nullable=False),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("draft", name=op.f("reservation_pkey")),
    )
    op.create_index(op.f("reservation_by_space"), "reservation", ["space"], unique=False)


def _throttle() -> None:
    op.create_table(
        "throttle",
        sa.Column(
            "subject", sa.LargeBinary(length=32), nullable=False, comment="keyed digest of an account or a network"
        ),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("blocked_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("throttle_pkey")),
    )

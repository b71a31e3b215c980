"""The tables of people, rights and credentials. What a person typed is sealed; `*_lookup` columns are keyed digests."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
)

from config.database import durable, transient

installation = Table(
    "installation",
    durable,
    Column("one", SmallInteger, primary_key=True),
    Column("id", LargeBinary(16), nullable=False),
    Column("supplier", LargeBinary(16)),
    Column("created_at", BigInteger, nullable=False),
    comment="One row: which installation this is, and which organisation is the supplier.",
)

organisation = Table(
    "organisation",
    durable,
    Column("id", LargeBinary(16), primary_key=True),
    Column("is_supplier", Boolean, nullable=False),
    Column("name", LargeBinary, nullable=False),
    Column("name_lookup", LargeBinary(32), nullable=False, unique=True),
    Column("second_factor", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    comment="The supplier, or one customer.",
)

person = Table(
    "person",
    durable,
    Column("id", LargeBinary(16), primary_key=True),
    Column("organisation", LargeBinary(16), ForeignKey("organisation.id"), nullable=False, index=True),
    Column("login", LargeBinary, nullable=False),
    Column("login_lookup", LargeBinary(32), nullable=False, unique=True),
    Column("name", LargeBinary, nullable=False),
    Column("mail", LargeBinary),
    Column("is_administrator", Boolean, nullable=False),
    Column("password_hash", LargeBinary, comment="Argon2id in PHC form, sealed"),
    Column("totp_secret", LargeBinary, comment="sealed"),
    Column("totp_last_step", BigInteger, nullable=False, comment="last accepted RFC 6238 step; a code works once"),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("paused_at", BigInteger, comment="since when its own credentials are refused, by the brake"),
    comment="One account, in one organisation.",
)

recovery_code = Table(
    "recovery_code",
    durable,
    Column("person", LargeBinary(16), ForeignKey("person.id"), primary_key=True),
    Column("digest", LargeBinary(32), primary_key=True),
    Column("used_at", BigInteger),
)

device = Table(
    "device",
    durable,
    Column("id", LargeBinary(16), primary_key=True),
    Column("person", LargeBinary(16), ForeignKey("person.id"), nullable=False, index=True),
    Column("secret_digest", LargeBinary(32), nullable=False, unique=True, comment="SHA-256 of the whole password"),
    Column("label", LargeBinary, nullable=False),
    Column("spaces", Text, comment="JSON list of space ids in hex; NULL: all"),
    Column("read_only", Boolean, nullable=False),
    Column("protocols", Text, comment="JSON list of protocol names; NULL: all"),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("paused_at", BigInteger, comment="since when it is refused, by the brake"),
    comment="A device password: what a mounted drive or a script signs in with.",
)

ssh_key = Table(
    "ssh_key",
    durable,
    Column("device", LargeBinary(16), ForeignKey("device.id"), primary_key=True),
    Column("public_key", LargeBinary, nullable=False, comment="the blob of RFC 4253 6.6, sealed"),
    Column("needs_code", Boolean, nullable=False, comment="good only together with a code of the second factor"),
    comment="A public key. Label, bounds and end stand in its row of device, whose digest is keyed.",
)

group = Table(
    "person_group",
    durable,
    Column("id", LargeBinary(16), primary_key=True),
    Column("organisation", LargeBinary(16), ForeignKey("organisation.id"), comment="NULL: across organisations"),
    Column("name", LargeBinary, nullable=False),
    Column("name_lookup", LargeBinary(32), nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
)

membership = Table(
    "membership",
    durable,
    Column("group_id", LargeBinary(16), ForeignKey("person_group.id"), primary_key=True),
    Column("person", LargeBinary(16), ForeignKey("person.id"), primary_key=True, index=True),
    Column("since", BigInteger, nullable=False),
)

grants = Table(
    "grants",
    durable,
    Column("id", LargeBinary(16), primary_key=True),
    Column("space", LargeBinary(16), nullable=False),
    Column("node", LargeBinary(16), nullable=False),
    Column(
        "grantee",
        LargeBinary(16),
        nullable=False,
        comment="person, group, organisation or link; empty for a break",
    ),
    Column("grantee_kind", SmallInteger, nullable=False),
    Column("role", SmallInteger, nullable=False, comment="0: the node breaks inheritance"),
    Column("history", Boolean, nullable=False),
    Column("expires_at", BigInteger),
    Column("from_change", BigInteger, nullable=False),
    Column("to_change", BigInteger, comment="NULL: in force"),
    comment="A role for somebody on a node, during [from_change, to_change) of its space.",
)
Index("grants_by_grantee", grants.c.grantee, grants.c.to_change)
Index("grants_by_space", grants.c.space, grants.c.to_change)

epoch = Table(
    "epoch",
    durable,
    Column("one", SmallInteger, primary_key=True),
    Column("value", BigInteger, nullable=False),
    comment="Grows with every change of a right or a credential; what was decided before it is asked anew.",
)

throttle = Table(
    "throttle",
    transient,
    Column("subject", LargeBinary(32), primary_key=True, comment="keyed digest of an account or a network"),
    Column("failures", Integer, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("blocked_until", BigInteger, nullable=False),
)

last_used = Table(
    "last_used",
    transient,
    Column("device", LargeBinary(16), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("sealed_address", LargeBinary, nullable=False),
)

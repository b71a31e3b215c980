"""The first durable tables.

A migration stands by itself: it imports none of the tables, which go on changing after it. Forward only.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _alert()
    _alert_space()
    _brake_baseline()
    _change()
    _checkpoint()
    _checksum()
    _chunk()
    _closed_entry()
    _comment()
    _draft()
    _draft_chunk()
    _entry()
    _epoch()
    _erasure()
    _grants()
    _head()
    _installation()
    _journal()
    _let_go()
    _lineage()
    _log()
    _log_entry()
    _log_epoch()
    _noise()
    _organisation()
    _property()
    _repack()
    _restated()
    _space()
    _space_suffix()
    _tree_node()
    _version()
    _person()
    _person_group()
    _device()
    _membership()
    _recovery_code()
    _ssh_key()


def _alert() -> None:
    op.create_table(
        "alert",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column(
            "subject",
            sa.LargeBinary(length=16),
            nullable=False,
            comment="the device, or the person by their own credentials",
        ),
        sa.Column("is_device", sa.Boolean(), nullable=False),
        sa.Column("person", sa.LargeBinary(length=16), nullable=False),
        sa.Column("organisation", sa.LargeBinary(length=16), nullable=False),
        sa.Column("rewritten", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.BigInteger(), nullable=False),
        sa.Column("moved", sa.BigInteger(), nullable=False),
        sa.Column("limit", sa.BigInteger(), nullable=False, comment="what it might have come to"),
        sa.Column("resumed_at", sa.BigInteger(), nullable=True, comment="NULL: open"),
        sa.Column("mailed_at", sa.BigInteger(), nullable=True),
        sa.Column("mail_tries", sa.Integer(), nullable=False),
        sa.Column("mail_due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("alert_pkey")),
        comment="Devices that the brake has paused.",
    )
    op.create_index("alert_by_time", "alert", ["at"], unique=False)


def _alert_space() -> None:
    op.create_table(
        "alert_space",
        sa.Column("alert", sa.LargeBinary(length=16), nullable=False),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column(
            "before", sa.BigInteger(), nullable=False, comment="the moment before the first act that was counted"
        ),
        sa.Column("documents", sa.BigInteger(), nullable=False),
        sa.Column("put_back_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("alert", "space", name=op.f("alert_space_pkey")),
        comment="What an alert is about in each space.",
    )


def _brake_baseline() -> None:
    op.create_table(
        "brake_baseline",
        sa.Column("subject", sa.LargeBinary(length=16), nullable=False),
        sa.Column("most", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("brake_baseline_pkey")),
        comment="The most documents that a device changed or deleted in one window, on earlier days.",
        sqlite_with_rowid=False,
    )


def _change() -> None:
    op.create_table(
        "change",
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("principal", sa.LargeBinary(length=16), nullable=False),
        sa.Column("organisation", sa.LargeBinary(length=16), nullable=False),
        sa.Column("via", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column(
            "rows_digest", sa.LargeBinary(length=32), nullable=False, comment="SHA-256 of the canonical rows it wrote"
        ),
        sa.PrimaryKeyConstraint("space", "number", name=op.f("change_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("change_by_time", "change", ["space", "at"], unique=False)


def _checkpoint() -> None:
    op.create_table(
        "checkpoint",
        sa.Column("log", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False, comment="C2SP signed note"),
        sa.PrimaryKeyConstraint("log", "size", name=op.f("checkpoint_pkey")),
        sqlite_with_rowid=False,
    )


def _checksum() -> None:
    op.create_table(
        "checksum",
        sa.Column("version", sa.LargeBinary(length=16), nullable=False, comment="the version's id"),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("sums", sa.LargeBinary(), nullable=False, comment="MD5 and SHA-1 of the content, sealed"),
        sa.PrimaryKeyConstraint("version", name=op.f("checksum_pkey")),
        comment="What clients compare contents by. Made anew where it is missing.",
        sqlite_with_rowid=False,
    )


def _chunk() -> None:
    op.create_table(
        "chunk",
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("cid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("pack", sa.BigInteger(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False, comment="of the whole record"),
        sa.Column("condemned_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("space", "cid", name=op.f("chunk_pkey")),
        sqlite_with_rowid=False,
    )


def _closed_entry() -> None:
    op.create_table(
        "closed_entry",
        sa.Column("parent", sa.LargeBinary(length=16), nullable=False, comment="empty for the root of a space"),
        sa.Column("lane", sa.LargeBinary(length=16), nullable=False, comment="party, or empty"),
        sa.Column("folded", sa.LargeBinary(), nullable=False, comment="folded name, AES-SIV under the parent"),
        sa.Column("from_change", sa.BigInteger(), nullable=False),
        sa.Column("to_change", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=True),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("node", sa.LargeBinary(length=16), nullable=False),
        sa.Column("is_folder", sa.Boolean(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("parent", "lane", "folded", "from_change", name=op.f("closed_entry_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("closed_entry_by_node", "closed_entry", ["node", "from_change"], unique=False)
    op.create_index("closed_entry_by_space", "closed_entry", ["space", "to_change"], unique=False)


def _comment() -> None:
    op.create_table(
        "comment",
        sa.Column("version", sa.LargeBinary(length=16), nullable=False, comment="the version's id"),
        sa.Column("change", sa.BigInteger(), nullable=False, comment="that said it; the newest counts"),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("text", sa.LargeBinary(), nullable=False, comment="sealed; an empty text takes back what was said"),
        sa.PrimaryKeyConstraint("version", "change", name=op.f("comment_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("comment_by_space", "comment", ["space", "change"], unique=False)


def _draft() -> None:
    op.create_table(
        "draft",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("parent", sa.LargeBinary(length=16), nullable=False),
        sa.Column("folded", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False, comment="as given, sealed"),
        sa.Column("principal", sa.LargeBinary(length=16), nullable=False, comment="who alone sees it"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=False),
        sa.Column(
            "upload",
            sa.LargeBinary(length=16),
            nullable=False,
            comment="whose chunks it has besides those of the space",
        ),
        sa.Column("sealed_bytes", sa.BigInteger(), nullable=False, comment="in packs already, and counted"),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("draft_pkey")),
        comment="Interrupted uploads, for their makers to resume; their bytes stand in the drafts of the vault.",
    )
    op.create_index("draft_by_expiry", "draft", ["expires_at"], unique=False)
    op.create_index("draft_by_name", "draft", ["parent", "principal", "folded"], unique=False)


def _draft_chunk() -> None:
    op.create_table(
        "draft_chunk",
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("cid", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "upload",
            sa.LargeBinary(length=16),
            nullable=False,
            comment="see draft: there may be one draft after another",
        ),
        sa.Column("pack", sa.BigInteger(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False, comment="of the whole record; counted in the quota"),
        sa.PrimaryKeyConstraint("space", "cid", "upload", name=op.f("draft_chunk_pkey")),
        comment="What interrupted uploads have in packs. Nobody else relies on it: it may be let go at any time.",
        sqlite_with_rowid=False,
    )
    op.create_index("draft_chunk_by_upload", "draft_chunk", ["upload"], unique=False)


def _entry() -> None:
    op.create_table(
        "entry",
        sa.Column("parent", sa.LargeBinary(length=16), nullable=False, comment="empty for the root of a space"),
        sa.Column("lane", sa.LargeBinary(length=16), nullable=False, comment="party, or empty"),
        sa.Column("folded", sa.LargeBinary(), nullable=False, comment="folded name, AES-SIV under the parent"),
        sa.Column(
            "name", sa.LargeBinary(), nullable=True, comment="the name as given, sealed; NULL: the same as folded"
        ),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("node", sa.LargeBinary(length=16), nullable=False),
        sa.Column("is_folder", sa.Boolean(), nullable=False),
        sa.Column("from_change", sa.BigInteger(), nullable=False),
        sa.Column(
            "version", sa.BigInteger(), nullable=False, comment="number of the newest version; 0: none, or a folder"
        ),
        sa.Column("version_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False, comment="of the node, microseconds"),
        sa.Column(
            "modified", sa.BigInteger(), nullable=False, comment="as shown: of the content, or as a client set it"
        ),
        sa.Column(
            "revision", sa.BigInteger(), nullable=False, comment="of a folder: the newest change among its children"
        ),
        sa.Column("has_properties", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("parent", "lane", "folded", name=op.f("entry_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("entry_by_node", "entry", ["node"], unique=True)


def _epoch() -> None:
    op.create_table(
        "epoch",
        sa.Column("one", sa.SmallInteger(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("one", name=op.f("epoch_pkey")),
        comment="Grows with every change of a right or a credential; what was decided before it is asked anew.",
    )


def _erasure() -> None:
    op.create_table(
        "erasure",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False, comment="0 requested, 1 done, 2 cancelled"),
        sa.Column("space", sa.LargeBinary(length=16), nullable=True, comment="NULL: all of a customer's"),
        sa.Column("customer", sa.LargeBinary(length=16), nullable=True),
        sa.Column("node", sa.LargeBinary(length=16), nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=True, comment="of a version of the node"),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.Column("change", sa.BigInteger(), nullable=True, comment="in which it was done"),
        sa.Column(
            "swept_at",
            sa.BigInteger(),
            nullable=True,
            comment="when the last of its bytes had left the packs, or its key was destroyed",
        ),
        sa.Column("words", sa.LargeBinary(), nullable=False, comment="who asked and agreed, and why, sealed"),
        sa.PrimaryKeyConstraint("id", name=op.f("erasure_pkey")),
        comment="What was asked to be erased, and what became of it.",
    )
    op.create_index("erasure_by_space", "erasure", ["space", "change"], unique=False)


def _grants() -> None:
    op.create_table(
        "grants",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("node", sa.LargeBinary(length=16), nullable=False),
        sa.Column(
            "grantee",
            sa.LargeBinary(length=16),
            nullable=False,
            comment="person, group, organisation or link; empty for a break",
        ),
        sa.Column("grantee_kind", sa.SmallInteger(), nullable=False),
        sa.Column("role", sa.SmallInteger(), nullable=False, comment="0: the node breaks inheritance"),
        sa.Column("history", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("from_change", sa.BigInteger(), nullable=False),
        sa.Column("to_change", sa.BigInteger(), nullable=True, comment="NULL: in force"),
        sa.PrimaryKeyConstraint("id", name=op.f("grants_pkey")),
        comment="A role for somebody on a node, during [from_change, to_change) of its space.",
    )
    op.create_index("grants_by_grantee", "grants", ["grantee", "to_change"], unique=False)
    op.create_index("grants_by_space", "grants", ["space", "to_change"], unique=False)


def _head() -> None:
    op.create_table(
        "head",
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="of the space's newest change"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column(
            "sealed_bytes", sa.BigInteger(), nullable=False, comment="what the space's records take in the vault"
        ),
        sa.PrimaryKeyConstraint("space", name=op.f("head_pkey")),
        comment="The row that every change of a space takes, once it has all other locks it needs.",
    )


def _installation() -> None:
    op.create_table(
        "installation",
        sa.Column("one", sa.SmallInteger(), nullable=False),
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("supplier", sa.LargeBinary(length=16), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("one", name=op.f("installation_pkey")),
        comment="One row: which installation this is, and which organisation is the supplier.",
    )


def _journal() -> None:
    op.create_table(
        "journal",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column(
            "drained", sa.BigInteger(), nullable=False, comment="bytes of the file whose events stand in the logs"
        ),
        sa.Column("sequence", sa.BigInteger(), nullable=False, comment="of the next frame"),
        sa.PrimaryKeyConstraint("id", name=op.f("journal_pkey")),
        comment="How far each journal of reads was numbered into the logs; a row goes with its file.",
    )


def _let_go() -> None:
    op.create_table(
        "let_go",
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("pack", sa.BigInteger(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column(
            "is_doomed", sa.Boolean(), nullable=False, comment="nothing refers to it; it is, or is about to be, a gap"
        ),
        sa.PrimaryKeyConstraint("space", "pack", "offset", name=op.f("let_go_pkey")),
        comment="Runs of records in packs that nothing was made of: the sweep lets these become gaps, and no others.",
        sqlite_with_rowid=False,
    )


def _lineage() -> None:
    op.create_table(
        "lineage",
        sa.Column("node", sa.LargeBinary(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="which version of the node this tells of"),
        sa.Column("other", sa.LargeBinary(length=16), nullable=False, comment="the other document; empty: an upload"),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("other_number", sa.BigInteger(), nullable=False),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node", "number", "other", name=op.f("lineage_pkey")),
        comment="How documents came by one another's versions: what the rule of names joined, shared or replaced.",
        sqlite_with_rowid=False,
    )
    op.create_index("lineage_by_other", "lineage", ["other", "kind"], unique=False)
    op.create_index("lineage_by_space", "lineage", ["space", "change"], unique=False)


def _log() -> None:
    op.create_table(
        "log",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False, comment="empty: the installation's own"),
        sa.Column("party", sa.LargeBinary(length=16), nullable=False, comment="empty: the supplier's log"),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False, comment="names the log in checkpoints"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column(
            "signed_size",
            sa.BigInteger(),
            nullable=False,
            comment="of the newest checkpoint; the tree reaches this far",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("log_pkey")),
        sa.UniqueConstraint("uid", name=op.f("log_one_uid")),
    )
    op.create_index("log_by_subject", "log", ["space", "party"], unique=True)


def _log_entry() -> None:
    op.create_table(
        "log_entry",
        sa.Column("log", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "number", sa.BigInteger(), autoincrement=False, nullable=False, comment="0 for the first, as in RFC 6962"
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "body",
            sa.LargeBinary(),
            nullable=True,
            comment="sealed event; NULL: stands in source_log under source_number",
        ),
        sa.Column("source_log", sa.Integer(), nullable=True),
        sa.Column("source_number", sa.BigInteger(), nullable=True),
        sa.Column(
            "projection", sa.SmallInteger(), nullable=False, comment="how much of the actor the log's reader sees"
        ),
        sa.PrimaryKeyConstraint("log", "number", name=op.f("log_entry_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("log_entry_by_time", "log_entry", ["log", "at"], unique=False)


def _log_epoch() -> None:
    op.create_table(
        "log_epoch",
        sa.Column("log", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False, comment="when it was opened"),
        sa.Column(
            "size", sa.BigInteger(), nullable=False, comment="what the log had then: the number of its first event"
        ),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("log", "at", name=op.f("log_epoch_pkey")),
        comment="Where logs go on since a backup was put back. Those of the installation's log tell of all.",
        sqlite_with_rowid=False,
    )


def _noise() -> None:
    op.create_table(
        "noise",
        sa.Column("parent", sa.LargeBinary(length=16), nullable=False, comment="empty for the root of a space"),
        sa.Column("lane", sa.LargeBinary(length=16), nullable=False, comment="party, or empty"),
        sa.Column("folded", sa.LargeBinary(), nullable=False, comment="folded name, AES-SIV under the parent"),
        sa.Column(
            "name", sa.LargeBinary(), nullable=True, comment="the name as given, sealed; NULL: the same as folded"
        ),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("id", sa.LargeBinary(length=16), nullable=False, comment="another with each writing"),
        sa.Column("principal", sa.LargeBinary(length=16), nullable=False, comment="who wrote it first"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="sealed; at most 64 KiB"),
        sa.PrimaryKeyConstraint("parent", "lane", "folded", name=op.f("noise_pkey")),
        sa.UniqueConstraint("id", name=op.f("noise_one_id")),
        comment="What operating systems leave beside documents: never versioned, in no change and no log.",
        sqlite_with_rowid=False,
    )
    op.create_index("noise_by_space", "noise", ["space"], unique=False)


def _organisation() -> None:
    op.create_table(
        "organisation",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("is_supplier", sa.Boolean(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("name_lookup", sa.LargeBinary(length=32), nullable=False),
        sa.Column("second_factor", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("organisation_pkey")),
        sa.UniqueConstraint("name_lookup", name=op.f("organisation_one_name_lookup")),
        comment="The supplier, or one customer.",
    )


def _property() -> None:
    op.create_table(
        "property",
        sa.Column("node", sa.LargeBinary(length=16), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False, comment="name of the property, AES-SIV under the node"),
        sa.Column("from_change", sa.BigInteger(), nullable=False),
        sa.Column("to_change", sa.BigInteger(), nullable=True),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False, comment="sealed"),
        sa.PrimaryKeyConstraint("node", "key", "from_change", name=op.f("property_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("property_by_space", "property", ["space", "from_change"], unique=False)


def _repack() -> None:
    op.create_table(
        "repack",
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("old", sa.BigInteger(), nullable=False, comment="the pack that is written anew"),
        sa.Column(
            "new", sa.BigInteger(), nullable=True, comment="the pack that takes its place; NULL: nothing of it stays"
        ),
        sa.Column("is_done", sa.Boolean(), nullable=False, comment="nothing refers to the old one any more"),
        sa.PrimaryKeyConstraint("space", "old", name=op.f("repack_pkey")),
        comment="Packs being written anew without what is condemned, so that an interruption leaves neither twice.",
        sqlite_with_rowid=False,
    )


def _restated() -> None:
    op.create_table(
        "restated",
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="of a change of which an erasure took rows"),
        sa.Column("by_change", sa.BigInteger(), nullable=False, comment="the change that is the erasure"),
        sa.Column(
            "digest", sa.LargeBinary(length=32), nullable=False, comment="SHA-256 of the canonical rows that were left"
        ),
        sa.PrimaryKeyConstraint("space", "number", "by_change", name=op.f("restated_pkey")),
        comment="What erasures left of earlier changes, each vouched for by the digest of the change that erased.",
        sqlite_with_rowid=False,
    )
    op.create_index("restated_by_change", "restated", ["space", "by_change"], unique=False)


def _space() -> None:
    op.create_table(
        "space",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False, comment="also the id of the node at its root"),
        sa.Column(
            "customer", sa.LargeBinary(length=16), nullable=True, comment="organisation; NULL: the supplier's own"
        ),
        sa.Column("name", sa.LargeBinary(), nullable=False, comment="sealed under the space's key"),
        sa.Column("is_open", sa.Boolean(), nullable=False, comment="its customers see one another"),
        sa.Column("state", sa.SmallInteger(), nullable=False, comment="0 active, 1 frozen, 2 archived"),
        sa.Column("quota_bytes", sa.BigInteger(), nullable=True, comment="NULL: no limit"),
        sa.Column(
            "retention_seconds",
            sa.BigInteger(),
            nullable=True,
            comment="no version younger than this is erased; NULL: none is demanded",
        ),
        sa.Column("is_held", sa.Boolean(), nullable=False, comment="legal hold: nothing is erased or thinned"),
        sa.Column(
            "thin_all_days",
            sa.Integer(),
            nullable=True,
            comment="every version stays for so many days; NULL: all for good",
        ),
        sa.Column(
            "thin_daily_days",
            sa.Integer(),
            nullable=True,
            comment="then the last of each day for so many days, then of each month",
        ),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("space_pkey")),
    )
    op.create_index("space_by_customer", "space", ["customer"], unique=False)


def _space_suffix() -> None:
    op.create_table(
        "space_suffix",
        sa.Column("party", sa.LargeBinary(length=16), nullable=False, comment="whose people see the suffix"),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("suffix", sa.SmallInteger(), nullable=False, comment="2 or more; once given, kept"),
        sa.PrimaryKeyConstraint("party", "space", name=op.f("space_suffix_pkey")),
        comment="Numbers told apart spaces of one name within what one party sees, so that none tells of another's.",
    )


def _tree_node() -> None:
    op.create_table(
        "tree_node",
        sa.Column("log", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("log", "level", "index", name=op.f("tree_node_pkey")),
        sqlite_with_rowid=False,
    )


def _version() -> None:
    op.create_table(
        "version",
        sa.Column("node", sa.LargeBinary(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="1 for the document's first content"),
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("space", sa.LargeBinary(length=16), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="reference to the vault: see docs/FORMAT.md"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="SHA-256 of the content, sealed"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("principal", sa.LargeBinary(length=16), nullable=False),
        sa.Column("organisation", sa.LargeBinary(length=16), nullable=False),
        sa.Column("via", sa.SmallInteger(), nullable=False),
        sa.Column(
            "origin", sa.LargeBinary(length=16), nullable=True, comment="version id it was copied or restored from"
        ),
        sa.Column("mac", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "erased_in",
            sa.BigInteger(),
            nullable=True,
            comment="change that erased it: content and digest are empty then",
        ),
        sa.PrimaryKeyConstraint("node", "number", name=op.f("version_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index("version_by_change", "version", ["space", "change"], unique=False)
    op.create_index("version_by_node", "version", ["node", "change", "number", "id"], unique=False)


def _person() -> None:
    op.create_table(
        "person",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("organisation", sa.LargeBinary(length=16), nullable=False),
        sa.Column("login", sa.LargeBinary(), nullable=False),
        sa.Column("login_lookup", sa.LargeBinary(length=32), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("mail", sa.LargeBinary(), nullable=True),
        sa.Column("is_administrator", sa.Boolean(), nullable=False),
        sa.Column("password_hash", sa.LargeBinary(), nullable=True, comment="Argon2id in PHC form, sealed"),
        sa.Column("totp_secret", sa.LargeBinary(), nullable=True, comment="sealed"),
        sa.Column(
            "totp_last_step", sa.BigInteger(), nullable=False, comment="last accepted RFC 6238 step; a code works once"
        ),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column(
            "paused_at",
            sa.BigInteger(),
            nullable=True,
            comment="since when its own credentials are refused, by the brake",
        ),
        sa.ForeignKeyConstraint(["organisation"], ["organisation.id"], name=op.f("person_organisation_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("person_pkey")),
        sa.UniqueConstraint("login_lookup", name=op.f("person_one_login_lookup")),
        comment="One account, in one organisation.",
    )
    op.create_index(op.f("person_by_organisation"), "person", ["organisation"], unique=False)


def _person_group() -> None:
    op.create_table(
        "person_group",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("organisation", sa.LargeBinary(length=16), nullable=True, comment="NULL: across organisations"),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("name_lookup", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["organisation"], ["organisation.id"], name=op.f("person_group_organisation_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("person_group_pkey")),
        sa.UniqueConstraint("name_lookup", name=op.f("person_group_one_name_lookup")),
    )


def _device() -> None:
    op.create_table(
        "device",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("person", sa.LargeBinary(length=16), nullable=False),
        sa.Column("secret_digest", sa.LargeBinary(length=32), nullable=False, comment="SHA-256 of the whole password"),
        sa.Column("label", sa.LargeBinary(), nullable=False),
        sa.Column("spaces", sa.Text(), nullable=True, comment="JSON list of space ids in hex; NULL: all"),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("protocols", sa.Text(), nullable=True, comment="JSON list of protocol names; NULL: all"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("paused_at", sa.BigInteger(), nullable=True, comment="since when it is refused, by the brake"),
        sa.ForeignKeyConstraint(["person"], ["person.id"], name=op.f("device_person_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("device_pkey")),
        sa.UniqueConstraint("secret_digest", name=op.f("device_one_secret_digest")),
        comment="A device password: what a mounted drive or a script signs in with.",
    )
    op.create_index(op.f("device_by_person"), "device", ["person"], unique=False)


def _membership() -> None:
    op.create_table(
        "membership",
        sa.Column("group_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("person", sa.LargeBinary(length=16), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["person_group.id"], name=op.f("membership_group_id_fkey")),
        sa.ForeignKeyConstraint(["person"], ["person.id"], name=op.f("membership_person_fkey")),
        sa.PrimaryKeyConstraint("group_id", "person", name=op.f("membership_pkey")),
    )
    op.create_index(op.f("membership_by_person"), "membership", ["person"], unique=False)


def _recovery_code() -> None:
    op.create_table(
        "recovery_code",
        sa.Column("person", sa.LargeBinary(length=16), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["person"], ["person.id"], name=op.f("recovery_code_person_fkey")),
        sa.PrimaryKeyConstraint("person", "digest", name=op.f("recovery_code_pkey")),
    )


def _ssh_key() -> None:
    op.create_table(
        "ssh_key",
        sa.Column("device", sa.LargeBinary(length=16), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False, comment="the blob of RFC 4253 6.6, sealed"),
        sa.Column(
            "needs_code", sa.Boolean(), nullable=False, comment="good only together with a code of the second factor"
        ),
        sa.ForeignKeyConstraint(["device"], ["device.id"], name=op.f("ssh_key_device_fkey")),
        sa.PrimaryKeyConstraint("device", name=op.f("ssh_key_pkey")),
        comment="A public key. Label, bounds and end stand in its row of device, whose digest is keyed.",
    )

"""The tables of spaces, documents, chunks, audit logs (durable) and of locks, reservations, leases (transient).

An entry, property or grant holds during [from_change, to_change) of its space's changes; live entries stand in one
table clustered by (parent, lane, folded name), closed ones in another, so that listing stays flat in history.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, SmallInteger, Table

from config.database import durable, transient

space = Table(
    "space",
    durable,
    Column("id", LargeBinary(16), primary_key=True, comment="also the id of the node at its root"),
    Column("customer", LargeBinary(16), comment="organisation; NULL: the supplier's own"),
    Column("name", LargeBinary, nullable=False, comment="sealed under the space's key"),
    Column("is_open", Boolean, nullable=False, comment="its customers see one another"),
    Column("state", SmallInteger, nullable=False, comment="0 active, 1 frozen, 2 archived"),
    Column("quota_bytes", BigInteger, comment="NULL: no limit"),
    Column("retention_seconds", BigInteger, comment="no version younger than this is erased; NULL: none is demanded"),
    Column("is_held", Boolean, nullable=False, comment="legal hold: nothing is erased or thinned"),
    Column("thin_all_days", Integer, comment="every version stays for so many days; NULL: all for good"),
    Column("thin_daily_days", Integer, comment="then the last of each day for so many days, then of each month"),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
)
Index("space_by_customer", space.c.customer)

space_suffix = Table(
    "space_suffix",
    durable,
    Column("party", LargeBinary(16), primary_key=True, comment="whose people see the suffix"),
    Column("space", LargeBinary(16), primary_key=True),
    Column("suffix", SmallInteger, nullable=False, comment="2 or more; once given, kept"),
    comment="Numbers told apart spaces of one name within what one party sees, so that none tells of another's.",
)

head = Table(
    "head",
    durable,
    Column("space", LargeBinary(16), primary_key=True),
    Column("number", BigInteger, nullable=False, comment="of the space's newest change"),
    Column("at", BigInteger, nullable=False),
    Column("sealed_bytes", BigInteger, nullable=False, comment="what the space's records take in the vault"),
    comment="The row that every change of a space takes, once it has all other locks it needs.",
)

change = Table(
    "change",
    durable,
    Column("space", LargeBinary(16), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("principal", LargeBinary(16), nullable=False),
    Column("organisation", LargeBinary(16), nullable=False),
    Column("via", SmallInteger, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("rows_digest", LargeBinary(32), nullable=False, comment="SHA-256 of the canonical rows it wrote"),
    sqlite_with_rowid=False,
)
Index("change_by_time", change.c.space, change.c.at)


def _entry_columns() -> list[Column[object]]:
    return [
        Column("parent", LargeBinary(16), primary_key=True, comment="empty for the root of a space"),
        Column("lane", LargeBinary(16), primary_key=True, comment="party, or empty"),
        Column("folded", LargeBinary, primary_key=True, comment="folded name, AES-SIV under the parent"),
    ]


entry = Table(
    "entry",
    durable,
    *_entry_columns(),
    Column("name", LargeBinary, comment="the name as given, sealed; NULL: the same as folded"),
    Column("space", LargeBinary(16), nullable=False),
    Column("node", LargeBinary(16), nullable=False),
    Column("is_folder", Boolean, nullable=False),
    Column("from_change", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False, comment="number of the newest version; 0: none, or a folder"),
    Column("version_id", LargeBinary(16), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False, comment="of the node, microseconds"),
    Column("modified", BigInteger, nullable=False, comment="as shown: of the content, or as a client set it"),
    Column("revision", BigInteger, nullable=False, comment="of a folder: the newest change among its children"),
    Column("has_properties", Boolean, nullable=False),
    sqlite_with_rowid=False,
)
Index("entry_by_node", entry.c.node, unique=True)

closed_entry = Table(
    "closed_entry",
    durable,
    *_entry_columns(),
    Column("from_change", BigInteger, primary_key=True),
    Column("to_change", BigInteger, nullable=False),
    Column("name", LargeBinary),
    Column("space", LargeBinary(16), nullable=False),
    Column("node", LargeBinary(16), nullable=False),
    Column("is_folder", Boolean, nullable=False),
    Column("created", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("closed_entry_by_node", closed_entry.c.node, closed_entry.c.from_change)
Index("closed_entry_by_space", closed_entry.c.space, closed_entry.c.to_change)

version = Table(
    "version",
    durable,
    Column("node", LargeBinary(16), primary_key=True),
    Column("number", BigInteger, primary_key=True, comment="1 for the document's first content"),
    Column("id", LargeBinary(16), nullable=False),
    Column("space", LargeBinary(16), nullable=False),
    Column("change", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False, comment="reference to the vault: see docs/FORMAT.md"),
    Column("size", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False, comment="SHA-256 of the content, sealed"),
    Column("at", BigInteger, nullable=False),
    Column("principal", LargeBinary(16), nullable=False),
    Column("organisation", LargeBinary(16), nullable=False),
    Column("via", SmallInteger, nullable=False),
    Column("origin", LargeBinary(16), comment="version id it was copied or restored from"),
    Column("mac", LargeBinary(32), nullable=False),
    Column("erased_in", BigInteger, comment="change that erased it: content and digest are empty then"),
    sqlite_with_rowid=False,
)
Index("version_by_change", version.c.space, version.c.change)
#: What a document held as of a change, in one step; and which of its versions bears an id, without their rows.
Index("version_by_node", version.c.node, version.c.change, version.c.number, version.c.id)

lineage = Table(
    "lineage",
    durable,
    Column("node", LargeBinary(16), primary_key=True),
    Column("number", BigInteger, primary_key=True, comment="which version of the node this tells of"),
    Column("other", LargeBinary(16), primary_key=True, comment="the other document; empty: an upload"),
    Column("kind", SmallInteger, nullable=False),
    Column("other_number", BigInteger, nullable=False),
    Column("space", LargeBinary(16), nullable=False),
    Column("change", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    comment="How documents came by one another's versions: what the rule of names joined, shared or replaced.",
)
Index("lineage_by_other", lineage.c.other, lineage.c.kind)
Index("lineage_by_space", lineage.c.space, lineage.c.change)

comment = Table(
    "comment",
    durable,
    Column("version", LargeBinary(16), primary_key=True, comment="the version's id"),
    Column("change", BigInteger, primary_key=True, comment="that said it; the newest counts"),
    Column("space", LargeBinary(16), nullable=False),
    Column("text", LargeBinary, nullable=False, comment="sealed; an empty text takes back what was said"),
    sqlite_with_rowid=False,
)
Index("comment_by_space", comment.c.space, comment.c.change)

property = Table(
    "property",
    durable,
    Column("node", LargeBinary(16), primary_key=True),
    Column("key", LargeBinary, primary_key=True, comment="name of the property, AES-SIV under the node"),
    Column("from_change", BigInteger, primary_key=True),
    Column("to_change", BigInteger),
    Column("space", LargeBinary(16), nullable=False),
    Column("value", LargeBinary, nullable=False, comment="sealed"),
    sqlite_with_rowid=False,
)
Index("property_by_space", property.c.space, property.c.from_change)

checksum = Table(
    "checksum",
    durable,
    Column("version", LargeBinary(16), primary_key=True, comment="the version's id"),
    Column("space", LargeBinary(16), nullable=False),
    Column("sums", LargeBinary, nullable=False, comment="MD5 and SHA-1 of the content, sealed"),
    sqlite_with_rowid=False,
    comment="What clients compare contents by. Made anew where it is missing.",
)

chunk = Table(
    "chunk",
    durable,
    Column("space", LargeBinary(16), primary_key=True),
    Column("cid", LargeBinary(32), primary_key=True),
    Column("pack", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("length", Integer, nullable=False, comment="of the whole record"),
    Column("condemned_at", BigInteger),
    sqlite_with_rowid=False,
)

restated = Table(
    "restated",
    durable,
    Column("space", LargeBinary(16), primary_key=True),
    Column("number", BigInteger, primary_key=True, comment="of a change of which an erasure took rows"),
    Column("by_change", BigInteger, primary_key=True, comment="the change that is the erasure"),
    Column("digest", LargeBinary(32), nullable=False, comment="SHA-256 of the canonical rows that were left"),
    sqlite_with_rowid=False,
    comment="What erasures left of earlier changes, each vouched for by the digest of the change that erased.",
)
Index("restated_by_change", restated.c.space, restated.c.by_change)

erasure = Table(
    "erasure",
    durable,
    Column("id", LargeBinary(16), primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("state", SmallInteger, nullable=False, comment="0 requested, 1 done, 2 cancelled"),
    Column("space", LargeBinary(16), comment="NULL: all of a customer's"),
    Column("customer", LargeBinary(16)),
    Column("node", LargeBinary(16)),
    Column("number", BigInteger, comment="of a version of the node"),
    Column("requested_at", BigInteger, nullable=False),
    Column("done_at", BigInteger),
    Column("change", BigInteger, comment="in which it was done"),
    Column("swept_at", BigInteger, comment="when the last of its bytes had left the packs, or its key was destroyed"),
    Column("words", LargeBinary, nullable=False, comment="who asked and agreed, and why, sealed"),
    comment="What was asked to be erased, and what became of it.",
)
Index("erasure_by_space", erasure.c.space, erasure.c.change)

repack = Table(
    "repack",
    durable,
    Column("space", LargeBinary(16), primary_key=True),
    Column("old", BigInteger, primary_key=True, comment="the pack that is written anew"),
    Column("new", BigInteger, comment="the pack that takes its place; NULL: nothing of it stays"),
    Column("is_done", Boolean, nullable=False, comment="nothing refers to the old one any more"),
    sqlite_with_rowid=False,
    comment="Packs being written anew without what is condemned, so that an interruption leaves neither twice.",
)

let_go = Table(
    "let_go",
    durable,
    Column("space", LargeBinary(16), primary_key=True),
    Column("pack", BigInteger, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("length", BigInteger, nullable=False),
    Column("is_doomed", Boolean, nullable=False, comment="nothing refers to it; it is, or is about to be, a gap"),
    sqlite_with_rowid=False,
    comment="Runs of records in packs that nothing was made of: the sweep lets these become gaps, and no others.",
)

noise = Table(
    "noise",
    durable,
    *_entry_columns(),
    Column("name", LargeBinary, comment="the name as given, sealed; NULL: the same as folded"),
    Column("space", LargeBinary(16), nullable=False),
    Column("id", LargeBinary(16), nullable=False, unique=True, comment="another with each writing"),
    Column("principal", LargeBinary(16), nullable=False, comment="who wrote it first"),
    Column("size", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("modified", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False, comment="sealed; at most 64 KiB"),
    sqlite_with_rowid=False,
    comment="What operating systems leave beside documents: never versioned, in no change and no log.",
)
Index("noise_by_space", noise.c.space)

log = Table(
    "log",
    durable,
    Column("id", Integer, primary_key=True),
    Column("space", LargeBinary(16), nullable=False, comment="empty: the installation's own"),
    Column("party", LargeBinary(16), nullable=False, comment="empty: the supplier's log"),
    Column("uid", LargeBinary(16), nullable=False, unique=True, comment="names the log in checkpoints"),
    Column("size", BigInteger, nullable=False),
    Column("signed_size", BigInteger, nullable=False, comment="of the newest checkpoint; the tree reaches this far"),
)
Index("log_by_subject", log.c.space, log.c.party, unique=True)

log_epoch = Table(
    "log_epoch",
    durable,
    Column("log", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, primary_key=True, autoincrement=False, comment="when it was opened"),
    Column("size", BigInteger, nullable=False, comment="what the log had then: the number of its first event"),
    Column("root", LargeBinary(32), nullable=False),
    sqlite_with_rowid=False,
    comment="Where logs go on since a backup was put back. Those of the installation's log tell of all.",
)

log_entry = Table(
    "log_entry",
    durable,
    Column("log", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False, comment="0 for the first, as in RFC 6962"),
    Column("at", BigInteger, nullable=False),
    Column("leaf_hash", LargeBinary(32), nullable=False),
    Column("body", LargeBinary, comment="sealed event; NULL: stands in source_log under source_number"),
    Column("source_log", Integer),
    Column("source_number", BigInteger),
    Column("projection", SmallInteger, nullable=False, comment="how much of the actor the log's reader sees"),
    sqlite_with_rowid=False,
)
Index("log_entry_by_time", log_entry.c.log, log_entry.c.at)

tree_node = Table(
    "tree_node",
    durable,
    Column("log", Integer, primary_key=True, autoincrement=False),
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(32), nullable=False),
    sqlite_with_rowid=False,
)

checkpoint = Table(
    "checkpoint",
    durable,
    Column("log", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("note", LargeBinary, nullable=False, comment="C2SP signed note"),
    sqlite_with_rowid=False,
)

journal = Table(
    "journal",
    durable,
    Column("id", LargeBinary(16), primary_key=True),
    Column("drained", BigInteger, nullable=False, comment="bytes of the file whose events stand in the logs"),
    Column("sequence", BigInteger, nullable=False, comment="of the next frame"),
    comment="How far each journal of reads was numbered into the logs; a row goes with its file.",
)

draft = Table(
    "draft",
    durable,
    Column("id", LargeBinary(16), primary_key=True),
    Column("space", LargeBinary(16), nullable=False),
    Column("parent", LargeBinary(16), nullable=False),
    Column("folded", LargeBinary, nullable=False),
    Column("name", LargeBinary, nullable=False, comment="as given, sealed"),
    Column("principal", LargeBinary(16), nullable=False, comment="who alone sees it"),
    Column("size", BigInteger, nullable=False),
    Column("modified", BigInteger, nullable=False),
    Column("upload", LargeBinary(16), nullable=False, comment="whose chunks it has besides those of the space"),
    Column("sealed_bytes", BigInteger, nullable=False, comment="in packs already, and counted"),
    Column("expires_at", BigInteger, nullable=False),
    comment="Interrupted uploads, for their makers to resume; their bytes stand in the drafts of the vault.",
)
draft_chunk = Table(
    "draft_chunk",
    durable,
    Column("space", LargeBinary(16), primary_key=True),
    Column("cid", LargeBinary(32), primary_key=True),
    Column("upload", LargeBinary(16), primary_key=True, comment="see draft: there may be one draft after another"),
    Column("pack", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("length", Integer, nullable=False, comment="of the whole record; counted in the quota"),
    sqlite_with_rowid=False,
    comment="What interrupted uploads have in packs. Nobody else relies on it: it may be let go at any time.",
)
Index("draft_chunk_by_upload", draft_chunk.c.upload)

Index("draft_by_name", draft.c.parent, draft.c.principal, draft.c.folded)
Index("draft_by_expiry", draft.c.expires_at)

alert = Table(
    "alert",
    durable,
    Column("id", LargeBinary(16), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("subject", LargeBinary(16), nullable=False, comment="the device, or the person by their own credentials"),
    Column("is_device", Boolean, nullable=False),
    Column("person", LargeBinary(16), nullable=False),
    Column("organisation", LargeBinary(16), nullable=False),
    Column("rewritten", BigInteger, nullable=False),
    Column("deleted", BigInteger, nullable=False),
    Column("moved", BigInteger, nullable=False),
    Column("limit", BigInteger, nullable=False, comment="what it might have come to"),
    Column("resumed_at", BigInteger, comment="NULL: open"),
    Column("mailed_at", BigInteger),
    Column("mail_tries", Integer, nullable=False),
    Column("mail_due_at", BigInteger, nullable=False),
    comment="Devices that the brake has paused.",
)
Index("alert_by_time", alert.c.at)

alert_space = Table(
    "alert_space",
    durable,
    Column("alert", LargeBinary(16), primary_key=True),
    Column("space", LargeBinary(16), primary_key=True),
    Column("before", BigInteger, nullable=False, comment="the moment before the first act that was counted"),
    Column("documents", BigInteger, nullable=False),
    Column("put_back_at", BigInteger),
    comment="What an alert is about in each space.",
)

brake_baseline = Table(
    "brake_baseline",
    durable,
    Column("subject", LargeBinary(16), primary_key=True),
    Column("most", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    comment="The most documents that a device changed or deleted in one window, on earlier days.",
)

brake_act = Table(
    "brake_act",
    transient,
    Column("subject", LargeBinary(16), primary_key=True),
    Column("document", LargeBinary(16), primary_key=True),
    Column("space", LargeBinary(16), nullable=False),
    Column("at", BigInteger, nullable=False, comment="of the first change within a window"),
    Column("until", BigInteger, nullable=False, comment="a window later"),
    Column("kind", SmallInteger, nullable=False),
    Column("weight", BigInteger, nullable=False, comment="of a folder: how many documents were in it"),
    comment="Documents lately rewritten, deleted or moved, each once a window.",
)
Index("brake_act_by_time", brake_act.c.subject, brake_act.c.until)

brake_day = Table(
    "brake_day",
    transient,
    Column("subject", LargeBinary(16), primary_key=True),
    Column("day", BigInteger, primary_key=True, comment="days since 1970, UTC"),
    Column("most", BigInteger, nullable=False),
    comment="The most of one window of a day that goes on.",
)

lock = Table(
    "lock",
    transient,
    Column("token", LargeBinary(16), primary_key=True),
    Column("space", LargeBinary(16), nullable=False),
    Column("parent", LargeBinary(16), nullable=False),
    Column("lane", LargeBinary(16), nullable=False),
    Column("folded", LargeBinary, nullable=False),
    Column("node", LargeBinary(16), nullable=False, comment="what stood there when it was taken; empty: nothing"),
    Column("principal", LargeBinary(16), nullable=False),
    Column("organisation", LargeBinary(16), nullable=False),
    Column("device", LargeBinary(16), nullable=False),
    Column("is_deep", Boolean, nullable=False, comment="RFC 4918 Depth: infinity"),
    Column("is_shared", Boolean, nullable=False),
    Column("owner", LargeBinary, nullable=False, comment="what the client said of its owner, sealed"),
    Column("seconds", Integer, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
Index("lock_by_name", lock.c.parent, lock.c.lane, lock.c.folded)
Index("lock_by_space", lock.c.space)
Index("lock_by_principal", lock.c.principal)

reservation = Table(
    "reservation",
    transient,
    Column("draft", LargeBinary(16), primary_key=True),
    Column("space", LargeBinary(16), nullable=False, index=True),
    Column("bytes", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

clock = Table(
    "clock",
    transient,
    Column("one", SmallInteger, primary_key=True, autoincrement=False, comment="always 1: there is one row"),
    Column("at", BigInteger, nullable=False, comment="what it said last"),
    Column("since", BigInteger, nullable=False, comment="when it began to go on without a jump"),
    Column("sure", BigInteger, nullable=False, comment="which moment has surely come"),
    comment="What the clock said, noted now and then: nothing goes for good by one that has jumped.",
)

lease = Table(
    "lease",
    transient,
    Column("name", LargeBinary(32), primary_key=True),
    Column("holder", LargeBinary(16), nullable=False),
    Column("until", BigInteger, nullable=False),
)

read_seen = Table(
    "read_seen",
    transient,
    Column("device", LargeBinary(16), primary_key=True),
    Column("version", LargeBinary(16), primary_key=True),
    Column("at", BigInteger, nullable=False),
    comment="Reads already numbered: one version by one device within ten minutes is one event.",
)

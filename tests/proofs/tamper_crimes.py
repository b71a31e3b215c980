"""Roll-backs and forgeries in the catalogue, each as consistent as somebody without the keys can make it."""

from __future__ import annotations

import sqlite3

from tests.proofs.tamper_edits import Edit, Target, targets


def _newest_version(connection: sqlite3.Connection) -> Target:
    return targets(connection, "version", "number > 1 AND content != x'00'")[0]


def roll_back_a_version(connection: sqlite3.Connection) -> None:
    """The newest version goes, and its entry shows the one before."""
    gone = max(targets(connection, "version", "node = ?", _newest_version(connection).row["node"]), key=_number)
    before = targets(connection, "version", "node = ? AND number = ?", gone.row["node"], gone.row["number"] - 1)[0]
    gone.delete(connection)
    entry = targets(connection, "entry", "node = ?", gone.row["node"])[0]
    for column, value in _shows(before).items():
        entry.set(connection, column, value)


def _number(target: Target) -> int:
    return int(target.row["number"])


def bring_old_content_back(connection: sqlite3.Connection) -> None:
    """The newest version gets the content of the one before."""
    newest = _newest_version(connection)
    before = targets(connection, "version", "node = ? AND number = ?", newest.row["node"], newest.row["number"] - 1)[0]
    for column in ("content", "size", "digest", "mac"):
        newest.set(connection, column, before.row[column])


#: Where a change's number stands in the rows that it wrote.
_WRITTEN = (
    ("version", "change"),
    ("entry", "from_change"),
    ("property", "from_change"),
    ("grants", "from_change"),
    ("change", "number"),
)


def undo_the_last_change(connection: sqlite3.Connection) -> None:
    """All rows that the last change of a space wrote go, and the head tells of the one before."""
    head = targets(connection, "head")[0]
    space, number = head.row["space"], head.row["number"]
    for table, column in _WRITTEN:
        connection.execute(f"DELETE FROM {table} WHERE space = ? AND {column} = ?", (space, number))
    before = targets(connection, "change", "space = ? AND number = ?", space, number - 1)[0]
    head.set(connection, "number", number - 1)
    head.set(connection, "at", before.row["at"])


def undo_a_delete(connection: sqlite3.Connection) -> None:
    """What was deleted stands again, as if nobody had deleted it."""
    for closed in targets(connection, "closed_entry"):
        node = closed.row["node"]
        if targets(connection, "entry", "node = ?", node):
            continue
        closed.delete(connection)
        shown = {**_kept(closed), **_shows(max(targets(connection, "version", "node = ?", node), key=_number))}
        targets(connection, "entry", "version > 0")[0].insert(connection, **shown, has_properties=0)
        return
    raise AssertionError("nothing was deleted")


def _kept(closed: Target) -> dict[str, object]:
    keys = ("parent", "lane", "folded", "name", "space", "node", "from_change", "created")
    return {key: closed.row[key] for key in keys}


def _shows(version: Target) -> dict[str, object]:
    """Return the columns of an entry that shows this version."""
    row = version.row
    return {"version": row["number"], "version_id": row["id"], "size": row["size"], "modified": row["at"]}


def undo_a_revocation(connection: sqlite3.Connection) -> None:
    """A grant that was taken back is in force again."""
    targets(connection, "grants", "to_change IS NOT NULL")[0].set(connection, "to_change", None)


def revoke_unseen(connection: sqlite3.Connection) -> None:
    """A grant is taken back by nobody."""
    targets(connection, "grants", "to_change IS NULL")[0].set(connection, "to_change", 2)


def grant_oneself(connection: sqlite3.Connection) -> None:
    """A grant that nobody gave."""
    targets(connection, "grants", "role > 1")[0].insert(connection, id=bytes(16), role=5)


def let_a_grant_last(connection: sqlite3.Connection) -> None:
    """A grant that ran out runs on."""
    targets(connection, "grants", "expires_at IS NOT NULL")[0].set(connection, "expires_at", None)


def undo_a_break(connection: sqlite3.Connection) -> None:
    """A folder inherits again."""
    targets(connection, "grants", "role = 0")[0].delete(connection)


def add_a_version(connection: sqlite3.Connection) -> None:
    """A version that nobody wrote, with a content that stands elsewhere."""
    newest = _newest_version(connection)
    newest = max(targets(connection, "version", "node = ?", newest.row["node"]), key=_number)
    newest.insert(connection, number=newest.row["number"] + 1, id=bytes(16))
    entry = targets(connection, "entry", "node = ?", newest.row["node"])[0]
    entry.set(connection, "version", newest.row["number"] + 1)
    entry.set(connection, "version_id", bytes(16))


def add_an_entry(connection: sqlite3.Connection) -> None:
    """A document under a name that was sealed for another folder."""
    folders = targets(connection, "entry", "is_folder AND parent != x''")
    document = targets(connection, "entry", "version > 0 AND parent != ?", folders[0].row["node"])[0]
    document.insert(connection, node=bytes(16), parent=folders[0].row["node"])


def settings_as_they_were(connection: sqlite3.Connection) -> None:
    """A space has the quota it had before."""
    targets(connection, "space", "quota_bytes IS NOT NULL")[0].set(connection, "quota_bytes", None)


def pass_for_settings(connection: sqlite3.Connection) -> None:
    """A change passes for one of settings, so that what it wrote need not fit; then a version of it goes."""
    version = _newest_version(connection)
    change = targets(connection, "change", "space = ? AND number = ?", version.row["space"], version.row["change"])[0]
    change.set(connection, "kind", 10)
    bring_old_content_back(connection)


def forget_a_space(connection: sqlite3.Connection) -> None:
    """A space and its head go."""
    space = targets(connection, "space")[0].row["id"]
    connection.execute("DELETE FROM space WHERE id = ?", (space,))
    connection.execute("DELETE FROM head WHERE space = ?", (space,))


def drop_last_events(connection: sqlite3.Connection) -> None:
    """The last events of a log go, and its size says so."""
    log = targets(connection, "log", "party = x'' AND space != x''")[0].row["id"]
    last = "number >= (SELECT size - 3 FROM log WHERE id = ?)"
    connection.execute(f"DELETE FROM log_entry WHERE log = ? AND {last}", (log, log))
    connection.execute("UPDATE log SET size = size - 3 WHERE id = ?", (log,))


def drop_a_stream(connection: sqlite3.Connection) -> None:
    """A party's stream goes, whole."""
    log = targets(connection, "log", "party != x'' AND space != x''")[0].row["id"]
    for table in ("log_entry", "tree_node", "checkpoint"):
        connection.execute(f"DELETE FROM {table} WHERE log = ?", (log,))
    connection.execute("DELETE FROM log WHERE id = ?", (log,))


def repeat_an_event(connection: sqlite3.Connection) -> None:
    """An event is told twice, at the log's end."""
    event = targets(connection, "log_entry", "body IS NOT NULL")[0]
    size = connection.execute("SELECT size FROM log WHERE id = ?", (event.row["log"],)).fetchone()[0]
    event.insert(connection, number=size)
    connection.execute("UPDATE log SET size = size + 1 WHERE id = ?", (event.row["log"],))


CRIMES: list[Edit] = [
    roll_back_a_version,
    bring_old_content_back,
    undo_the_last_change,
    undo_a_delete,
    undo_a_revocation,
    revoke_unseen,
    grant_oneself,
    let_a_grant_last,
    undo_a_break,
    add_a_version,
    add_an_entry,
    settings_as_they_were,
    pass_for_settings,
    forget_a_space,
    drop_last_events,
    drop_a_stream,
    repeat_an_event,
]

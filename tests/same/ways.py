"""How each operation of the drive is reached: for each protocol the requests that come to it, by operation.

A way is tried on a subject of the table of operations (tests/drive/operations.txt) and returns what the client was
told. Lines of that table that try one operation in another way have ways of their own here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from server.sftp.engine.wire import CREAT, WRITE, Type, string
from tests.drive.stage import Subject
from tests.proofs.history_doors import lockinfo, property_update
from tests.same.hands import Hands, Told, run_exec, told_by, told_by_exec, told_over_sftp
from tests.sftp.client import U32, Client, sized, timed

Way = Callable[[Hands, Subject], Told]
TOKEN: Final = "urn:uuid:6a1c6c0a-1111-4222-8333-444444444444"
_PROP = '<?xml version="1.0"?><D:propfind xmlns:D="DAV:"><D:prop>%s</D:prop></D:propfind>'
_QUOTA = (_PROP % "<D:quota-used-bytes/>").encode()
_LOCKS = (_PROP % "<D:lockdiscovery/>").encode()
_SUMS = (_PROP % '<x:checksums xmlns:x="http://owncloud.org/ns"/>').encode()


# --- WebDAV


def _web(method: str, where: Callable[[Subject], str], body: bytes = b"", **headers: str) -> Way:
    def way(hands: Hands, subject: Subject) -> Told:
        return told_by(hands.webdav.ask(method, where(subject), body, **headers))

    return way


def _document(subject: Subject) -> str:
    return str(subject.document)


def _folder(subject: Subject) -> str:
    return str(subject.folder)


def _new(name: str) -> Callable[[Subject], str]:
    return lambda subject: f"{subject.folder}/{name}"


def _to(method: str, goal: Callable[[Subject], str]) -> Way:
    def way(hands: Hands, subject: Subject) -> Told:
        told = hands.webdav.ask(method, _document(subject), Destination=hands.webdav.goal(goal(subject)), Overwrite="F")
        return told_by(told)

    return way


def _found(where: Callable[[Subject], str], depth: str, body: bytes, *wanted: bytes) -> Way:
    def way(hands: Hands, subject: Subject) -> Told:
        return told_by(hands.webdav.ask("PROPFIND", where(subject), body, Depth=depth), *wanted)

    return way


WEBDAV: Final[dict[str, dict[str, Way]]] = {
    "stat": {"HEAD": _web("HEAD", _document), "PROPFIND": _web("PROPFIND", _document, Depth="0")},
    "listing": {"PROPFIND": _found(_folder, "1", b"", b"Avtal.txt")},
    "properties": {"PROPFIND": _found(_document, "0", b"")},
    "properties_below": {"PROPFIND": _found(_folder, "1", b"")},
    "quota": {"PROPFIND": _found(_folder, "0", _QUOTA)},
    "checksums": {"PROPFIND": _found(_document, "0", _SUMS, b"SHA1:")},
    "checksums_below": {"PROPFIND": _found(_folder, "1", _SUMS, b"SHA1:")},
    "locks": {"PROPFIND": _found(_document, "0", _LOCKS)},
    "locks_below": {"PROPFIND": _found(_folder, "1", _LOCKS)},
    "lock": {"LOCK": _web("LOCK", _document, lockinfo(), Timeout="Second-60")},
    "lock_new": {"LOCK": _web("LOCK", _new("Ny.txt"), lockinfo(), Timeout="Second-60")},
    "refresh_lock": {"LOCK": _web("LOCK", _document, If=f"(<{TOKEN}>)", Timeout="Second-60")},
    "unlock": {"UNLOCK": _web("UNLOCK", _document, Lock_Token=f"<{TOKEN}>")},
    "read": {"GET": _web("GET", _document)},
    "put": {"PUT": _web("PUT", _new("Ny.txt"), b"new")},
    "put_over": {"PUT": _web("PUT", _document, b"other")},
    "make_folder": {"MKCOL": _web("MKCOL", _new("Ny"))},
    "delete": {"DELETE": _web("DELETE", _document)},
    "copy": {"COPY": _to("COPY", _new("Kopia.txt"))},
    "move": {"MOVE": _to("MOVE", _new("Nytt namn.txt"))},
    "move_away": {"MOVE": _to("MOVE", lambda subject: f"{subject.away}/Avtal.txt")},
    "change_properties": {"PROPPATCH": _web("PROPPATCH", _document, property_update("grön", None))},
}

# --- SFTP


def _sftp(act: Callable[[Client, Subject], object]) -> Way:
    return lambda hands, subject: told_over_sftp(lambda: act(hands.sftp(), subject))


def _exec(line: str, where: Callable[[Subject], str], given: bytes = b"", check: Callable[[bytes], bool] = bool) -> Way:
    def way(hands: Hands, subject: Subject) -> Told:
        ran = run_exec(hands.drive, line.format(f"'{where(subject)}'"), given)
        told = told_by_exec(ran)
        assert told.word != "done" or check(ran.out), ran
        return told

    return way


def _listed(client: Client, subject: Subject) -> None:
    assert len(client.names(_folder(subject))) > 2


def _statvfs(client: Client, subject: Subject) -> None:
    client.extended("statvfs@openssh.com", string(_folder(subject).encode()))


def _edit(client: Client, subject: Subject) -> None:
    handle = client.open(_document(subject), WRITE)
    client.write(handle, 2, b"XY")
    client.close(handle)


def _edit_new(client: Client, subject: Subject) -> None:
    handle = client.open(f"{subject.folder}/Ny 2.txt", WRITE | CREAT)
    client.write(handle, 2, b"XY")
    client.close(handle)


def cut_off(hands: Hands, subject: Subject) -> Told | None:
    """Upload something and lose the connection; return why that was not to be."""
    client = hands.sftp()

    def half() -> None:
        client.write(client.open(f"{subject.folder}/Halv.txt", WRITE | CREAT), 0, b"half")

    told = told_over_sftp(half)
    if told.word != "done":
        return told
    client.lose()
    return None


def _drafts(hands: Hands, subject: Subject) -> Told:
    is_there = hands.may_add and cut_off(hands, subject) is None

    def act() -> None:
        assert ("Halv.txt" in hands.sftp().names(_folder(subject))) is is_there

    return told_over_sftp(act)


def _drop_draft(hands: Hands, subject: Subject) -> Told:
    refused = cut_off(hands, subject)
    if refused is not None:
        return refused
    path = f"{subject.folder}/Halv.txt"
    return told_over_sftp(lambda: hands.sftp().path_request(Type.REMOVE, path))


def _rename(goal: Callable[[Subject], str]) -> dict[str, Way]:
    def posix(client: Client, subject: Subject) -> None:
        names = (string(name.encode()) for name in (_document(subject), goal(subject)))
        client.extended("posix-rename@openssh.com", b"".join(names))

    return {
        "RENAME": _sftp(lambda client, s: client.path_request(Type.RENAME, _document(s), goal(s))),
        "posix-rename@openssh.com": _sftp(posix),
    }


def _remove_folder(client: Client, subject: Subject) -> None:
    client.path_request(Type.RMDIR, str(subject.folder.joined("Bort")))


def _sent(where: Callable[[Subject], str], content: bytes) -> Way:
    """Send a document as `scp` does."""
    given = (b"C0644 %d x\n" % len(content), content + b"\0")
    return lambda hands, subject: told_by_exec(run_exec(hands.drive, f"scp -t '{where(subject)}'", b"", given))


_ASKED: Final = b"\0" * 8

SFTP: Final[dict[str, dict[str, Way]]] = {
    "stat": {
        "STAT": _sftp(lambda client, s: client.stat(_document(s))),
        "LSTAT": _sftp(lambda client, s: client.stat(_document(s), Type.LSTAT)),
    },
    "listing": {
        "OPENDIR": _sftp(_listed),
        "scp -f": _exec("scp -f -r {}", _new("Bort"), _ASKED, lambda out: b"D0755 0 Bort" in out),
    },
    "quota": {"statvfs@openssh.com": _sftp(_statvfs)},
    "checksums": {
        "md5sum": _exec("md5sum {}", _document, check=lambda out: len(out.split()[0]) == 32),
        "sha1sum": _exec("sha1sum {}", _document, check=lambda out: len(out.split()[0]) == 40),
    },
    "read": {
        "OPEN": _sftp(lambda client, s: client.get(_document(s))),
        "scp -f": _exec("scp -f {}", _document, _ASKED, lambda out: b"C0644" in out),
    },
    "put": {"scp -t": _sent(_new("Ny.txt"), b"new")},
    "put_over": {"scp -t": _sent(_document, b"other")},
    "edit": {
        "OPEN": _sftp(_edit),
        "SETSTAT": _sftp(lambda client, s: client.setstat(_document(s), sized(2))),
    },
    "edit_new": {"OPEN": _sftp(_edit_new)},
    "drafts": {"OPENDIR": _drafts},
    "drop_draft": {"REMOVE": _drop_draft},
    "make_folder": {
        "MKDIR": _sftp(lambda client, s: client.path_request(Type.MKDIR, f"{s.folder}/Ny", tail=U32.pack(0)))
    },
    "delete": {
        "REMOVE": _sftp(lambda client, s: client.path_request(Type.REMOVE, _document(s))),
        "RMDIR": _sftp(_remove_folder),
    },
    "move": _rename(_new("Nytt namn.txt")),
    "move_away": _rename(lambda subject: f"{subject.away}/Avtal.txt"),
    "change_properties": {"SETSTAT": _sftp(lambda client, s: client.setstat(_document(s), timed(1_700_000_000)))},
}

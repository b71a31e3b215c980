"""What the buyer does over SFTP in both worlds: a day's work, and every way of asking after what is another's."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from server.sftp.engine.wire import APPEND, CREAT, EXCL, READ, TRUNC, WRITE, Type, string
from tests.proofs.twin_sftp import SftpTwin
from tests.proofs.twin_trace import NEVER, PAIRS
from tests.proofs.twin_worlds import RIVAL, Foreign
from tests.sftp.client import NO_ATTRIBUTES, sized, timed

FOLDERS = ("/", "/Objektet", "/Objektet/Bud", "/Objektet/Underlag", "/Rum", "/.history", "/Rum/.history")
UNDERLAG = "/Objektet/Underlag/Årsredovisning.pdf"
#: Named like the rival, in as many bytes.
NOBODY = "Köpare Tvö AB"
_U32 = struct.Struct(">I")
_SENT: Final = (b"C0644 4 x\n", b"text\0")


def look(twin: SftpTwin) -> None:
    """Look at everything that is seen, in every way there is to look."""
    twin.of_path(Type.REALPATH, ".")
    twin.extended("home-directory", b"")
    twin.extended("limits@openssh.com")
    twin.extended("users-groups-by-id@openssh.com", _U32.pack(0) * 3, _U32.pack(0))
    for path in (*FOLDERS, "/Objektet/.history"):
        twin.of_path(Type.STAT, path)
        twin.of_path(Type.REALPATH, f"{path}/x/..")
        twin.extended("statvfs@openssh.com", path.encode())
        twin.list(path)
    for line in ("scp -f -p -r /Objektet", "md5sum " + UNDERLAG, "sha1sum " + UNDERLAG, "scp -f /Objektet/Bud/*"):
        twin.command(line, b"\0" * 40)


def bid(twin: SftpTwin) -> None:
    """Bid, in a folder where the rival bids too, under the same name."""
    name = "/Objektet/Bud/Bud.pdf"
    twin.put(name, b"fem miljoner")
    twin.put(name, b"fem miljoner och ett")
    twin.get(name)
    twin.put("/Objektet/Bud/Rivalens bud.pdf", b"a name that the rival has", WRITE | CREAT | EXCL)
    twin.put("/Objektet/Bud/låst.docx", b"a name that the rival locked")
    twin.put("/Objektet/Bud/Öppet.pdf", b"a name that the rival has open", WRITE | CREAT | EXCL)
    twin.command("scp -t '/Objektet/Bud/utkast 7.docx'", b"", _SENT)
    twin.of_path(Type.RENAME, name, "/Objektet/Bud/Ny.pdf")
    twin.of_path(Type.REMOVE, name)
    twin.of_path(Type.MKDIR, "/Objektet/Bud/mapp", tail=NO_ATTRIBUTES)
    twin.of_path(Type.RMDIR, "/Objektet/Bud")
    twin.of_path(Type.SETSTAT, name, tail=timed(1_500_000_000))
    twin.put("/Objektet/Underlag/otillåtet.txt", b"nej")
    source, goal = twin.opened(UNDERLAG, READ), twin.opened("/Objektet/Bud/kopia.pdf", WRITE | CREAT)
    body = string(source) + struct.pack(">QQ", 0, 0) + string(goal) + struct.pack(">Q", 0)
    twin.request(Type.EXTENDED, string(b"copy-data") + body)
    for handle in (source, goal):
        twin.request(Type.CLOSE, string(handle))
    handle = twin.opened("/Objektet/Bud/avbruten.bin", WRITE | CREAT)
    twin.request(Type.WRITE, string(handle) + struct.pack(">Q", 0) + string(b"half" * 5000))
    twin.extended("fsync@openssh.com", handle)
    twin.lose()
    twin.list("/Objektet/Bud")
    twin.put("/Objektet/Bud/avbruten.bin", b"other half", WRITE | CREAT | APPEND)


def work(twin: SftpTwin) -> None:
    """Work in one's own room: saves, moves, times, what is refused."""
    name = "/Rum/plan.docx"
    twin.put(name, b"version ett" * 9000)
    twin.put(name, b"XY", WRITE, at=3)
    twin.put(name, b"slut", WRITE | APPEND)
    twin.put(name, b"nej", WRITE | CREAT | EXCL)
    twin.of_path(Type.SETSTAT, name, tail=sized(100))
    twin.of_path(Type.SETSTAT, name, tail=timed(1_500_000_000))
    twin.of_path(Type.MKDIR, "/Rum/Arkiv", tail=NO_ATTRIBUTES)
    twin.of_path(Type.MKDIR, "/Rum/Arkiv", tail=NO_ATTRIBUTES)
    twin.put("/Rum/ny plan.docx", b"en annan")
    twin.of_path(Type.RENAME, "/Rum/ny plan.docx", name)
    twin.extended("posix-rename@openssh.com", b"/Rum/ny plan.docx", name.encode())
    twin.of_path(Type.RENAME, name, "/Rum/Arkiv/plan.docx")
    twin.of_path(Type.RMDIR, "/Rum/Arkiv")
    twin.list("/Rum/Arkiv")
    twin.of_path(Type.RENAME, "/Rum/Arkiv", "/Rum/Gammalt")
    twin.of_path(Type.REMOVE, "/Rum/Gammalt/plan.docx")
    twin.of_path(Type.RMDIR, "/Rum/Gammalt")
    twin.put("/Rum/stor.bin", bytes(range(256)) * 1200)
    twin.get("/Rum/stor.bin")
    twin.put("/Rum/stor.bin", b"for good", at=10_000_000)
    twin.extended("statvfs@openssh.com", b"/Rum")


Probe = Callable[[SftpTwin, str], object]


def _of(kind: int, tail: bytes = b"") -> Probe:
    return lambda twin, path: twin.of_path(kind, path, tail=tail, name=PAIRS)


def _beyond(kind: str, *before: str) -> Probe:
    names = [each.encode() for each in before]
    return lambda twin, path: twin.extended(kind, *names, path.encode(), name=PAIRS)


def _runs(line: str) -> Probe:
    return lambda twin, path: twin.command(f"{line} '{path}'", b"\0" * 8, name=PAIRS, asked=path)


def _opens(flags: int) -> Probe:
    return _of(Type.OPEN, _U32.pack(flags) + NO_ATTRIBUTES)


#: Ways of asking after a name that make nothing, wherever it may stand.
PROBES: Final[list[Probe]] = [
    _of(Type.STAT),
    _of(Type.LSTAT),
    _of(Type.OPENDIR),
    _opens(READ),
    _opens(WRITE),
    _opens(READ | WRITE),
    _opens(TRUNC),
    _of(Type.SETSTAT, timed(5)),
    _of(Type.SETSTAT, sized(5)),
    _of(Type.SETSTAT, NO_ATTRIBUTES),
    _of(Type.REMOVE),
    _of(Type.RMDIR),
    _of(Type.READLINK),
    lambda twin, path: twin.of_path(Type.SYMLINK, path, "/Rum/länk", name=PAIRS),
    lambda twin, path: twin.of_path(Type.RENAME, path, "/Rum/taget", name=PAIRS),
    lambda twin, path: twin.extended("posix-rename@openssh.com", path.encode(), b"/Rum/taget", name=PAIRS),
    _beyond("statvfs@openssh.com"),
    _beyond("hardlink@openssh.com", "/Rum/stor.bin"),
    lambda twin, path: twin.extended("lsetstat@openssh.com", path.encode(), tail=timed(5), name=PAIRS),
    _runs("md5sum"),
    _runs("sha1sum"),
    _runs("scp -f"),
    _runs("scp -f -r"),
]
#: Ways that would make something where one may, so they are tried only where one may not.
MAKERS: Final[list[Probe]] = [
    _opens(WRITE | CREAT),
    _opens(WRITE | CREAT | TRUNC),
    _opens(WRITE | CREAT | EXCL),
    _of(Type.MKDIR, NO_ATTRIBUTES),
    _of(Type.REALPATH),
    _beyond("expand-path@openssh.com"),
    lambda twin, path: twin.of_path(Type.RENAME, "/Rum/stor.bin", path, name=PAIRS),
    _beyond("posix-rename@openssh.com", "/Rum/stor.bin"),
    lambda twin, path: twin.command(f"scp -t '{path}'", b"", _SENT, name=PAIRS, asked=path),
]


def probe(twin: SftpTwin, foreign: Foreign) -> None:
    """Ask after what is the rival's, each time followed by what never was."""
    pairs = [
        (f"/Objektet/Bud/Bud ({RIVAL}).pdf", f"/Objektet/Bud/Bud ({NOBODY}).pdf", PROBES),
        ("/Objektet/Bud/halv 9.bin", "/Objektet/Bud/halv 0.bin", PROBES),
        ("/Objektet/Bud/halvt 1.bin", "/Objektet/Bud/halvt 0.bin", PROBES),
        (f"/~{foreign.space}/Hemligt", f"/~{NEVER}/Hemligt", PROBES),
        (f"/~{foreign.space}/Hemligt/ny.txt", f"/~{NEVER}/Hemligt/ny.txt", MAKERS),
        (f"/~{foreign.space}", f"/~{NEVER}", PROBES),
        ("/Rum (2)", "/Rum (3)", PROBES),
        ("/Rum (2)/ny.txt", "/Rum (3)/ny.txt", MAKERS),
        (f"/Rum ({RIVAL})/ny.txt", f"/Rum ({NOBODY})/ny.txt", MAKERS),
    ]
    for hidden, absent, probes in pairs:
        for each in probes:
            each(twin, hidden)
            each(twin, absent)
    for handle in (b"\0\0\0\1", b"\xff\xff\xff\xfe", b"rut"):
        twin.request(Type.READ, string(handle) + struct.pack(">QI", 0, 100))
        twin.request(Type.CLOSE, string(handle))


def day(twin: SftpTwin, foreign: Foreign) -> None:
    """Live through the buyer's day."""
    look(twin)
    bid(twin)
    work(twin)
    probe(twin, foreign)
    look(twin)


def glimpse(twin: SftpTwin, foreign: Foreign) -> None:
    """Do as little as shows every planted leak."""
    for path in ("/", "/Objektet", "/Objektet/Bud", "/Rum"):
        twin.list(path)
    twin.extended("limits@openssh.com")
    twin.put("/Objektet/Bud/Bud.pdf", b"fem miljoner", WRITE | CREAT | EXCL)
    twin.of_path(Type.STAT, "/Objektet/Bud/Rivalens bud.pdf")
    twin.of_path(Type.STAT, f"/~{foreign.space}")
    twin.of_path(Type.REALPATH, f"/~{foreign.space}/")
    twin.list("/Objektet/Bud")

"""Which request is answered where, and what is told at the beginning."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from server.sftp.engine import extensions, files, names
from server.sftp.engine.wire import Fields, Type

if TYPE_CHECKING:
    from server.sftp.engine.engine import Engine

REQUESTS: Final[dict[int, Callable[[Engine, int, Fields], None]]] = {
    Type.OPEN: files.open_file,
    Type.CLOSE: files.close,
    Type.READ: files.no_such_handle,
    Type.WRITE: files.no_such_handle,
    Type.LSTAT: names.stat,
    Type.FSTAT: files.fstat,
    Type.SETSTAT: names.setstat,
    Type.FSETSTAT: files.fsetstat,
    Type.OPENDIR: names.open_folder,
    Type.READDIR: names.read_folder,
    Type.REMOVE: names.remove,
    Type.MKDIR: names.make_folder,
    Type.RMDIR: names.remove_folder,
    Type.REALPATH: names.real_path,
    Type.STAT: names.stat,
    Type.RENAME: names.rename,
    Type.READLINK: names.refuse_links,
    Type.SYMLINK: names.refuse_links,
    Type.EXTENDED: extensions.extended,
}
#: Reads and writes pass one another; everything else waits until those before it are done.
PASSING: Final = frozenset({Type.READ, Type.WRITE})
#: Before these it is looked whether rights still stand: what was opened goes on being told of, or written, by them.
GOING_ON: Final = PASSING | {Type.READDIR}
#: What a client may ask beyond version 3, and the version of each. Hard links are answered, but not offered.
EXTENSIONS: Final = {
    b"posix-rename@openssh.com": b"1",
    b"statvfs@openssh.com": b"2",
    b"fstatvfs@openssh.com": b"2",
    b"fsync@openssh.com": b"1",
    b"lsetstat@openssh.com": b"1",
    b"limits@openssh.com": b"1",
    b"expand-path@openssh.com": b"1",
    b"copy-data": b"1",
    b"home-directory": b"1",
    b"users-groups-by-id@openssh.com": b"1",
}

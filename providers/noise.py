"""What operating systems and office programs leave beside documents: by its name and its content together.

Only what matches its format, within NOISE_BYTES_MAX, is noise: nobody hides a document behind the name of one. An empty
file under such a name is noise too, for that is how clients begin.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Final

NOISE_BYTES_MAX: Final = 64 * 1024

_DOUBLE_MAGIC, _DOUBLE_VERSION = 0x00051607, 0x00020000
_DOUBLE_HEAD, _DOUBLE_ENTRY = struct.Struct(">II16sH"), struct.Struct(">III")
_DATA_FORK = 1
_OWNER_SIZES = (162, 165)
_OWNER_NAME_BYTES_MAX = 52
_LOCK_LINE = re.compile(rb"[^,;\r\n\0]*(?:,[^,;\r\n\0]*){3,4};?\r?\n?\Z")
_LOCK_BYTES_MAX = 4096
_SWAP_NAME = re.compile(r"\.(?:.+\.)?s[wv][a-z]\Z", re.DOTALL)
_SWAP_MAGIC, _SWAP_PAGE_OFFSET = b"b0VIM ", 12
_SWAP_PAGE_BYTES_MIN, _SWAP_PAGE_BYTES_MAX = 1024, 50_000


def _is_apple_double(content: bytes) -> bool:
    """RFC 1740: a head, then entries that lie within the file. One that carries a data fork would be a document."""
    if len(content) < _DOUBLE_HEAD.size:
        return False
    magic, version, _, count = _DOUBLE_HEAD.unpack_from(content)
    table_end = _DOUBLE_HEAD.size + count * _DOUBLE_ENTRY.size
    if magic != _DOUBLE_MAGIC or version != _DOUBLE_VERSION or not 0 < count <= 16 or table_end > len(content):
        return False
    entries = [_DOUBLE_ENTRY.unpack_from(content, _DOUBLE_HEAD.size + n * _DOUBLE_ENTRY.size) for n in range(count)]
    return all(
        kind != _DATA_FORK and table_end <= offset and offset + length <= len(content)
        for kind, offset, length in entries
    )


def _is_ds_store(content: bytes) -> bool:
    """A buddy allocator's file: its head names where its root block lies, twice."""
    if len(content) < 36 or content[:8] != b"\0\0\0\1Bud1":
        return False
    offset, size, again = struct.unpack_from(">III", content, 8)
    return bool(offset == again and offset + size <= len(content))


def _is_office_owner(content: bytes) -> bool:
    """Whose document is open, in a file of fixed size: the length of a name, the name, and the name in UTF-16."""
    return len(content) in _OWNER_SIZES and 0 < content[0] <= _OWNER_NAME_BYTES_MAX


def _is_libreoffice_lock(content: bytes) -> bool:
    """Whose document is open: four or five fields on one line."""
    return len(content) <= _LOCK_BYTES_MAX and _LOCK_LINE.match(content) is not None


def _is_vim_swap(content: bytes) -> bool:
    """What vim has in memory of a document that is open: whole pages, of the size that the first of them names.

    The size is in the byte order of the machine that vim runs on.
    """
    if content[: len(_SWAP_MAGIC)] != _SWAP_MAGIC or len(content) < _SWAP_PAGE_BYTES_MIN:
        return False
    sizes = (struct.unpack_from(order + "I", content, _SWAP_PAGE_OFFSET)[0] for order in "<>")
    return any(_SWAP_PAGE_BYTES_MIN <= size <= _SWAP_PAGE_BYTES_MAX and len(content) % size == 0 for size in sizes)


def _never(content: bytes) -> bool:
    """Noise only while it is empty."""
    return False


#: A folder's own icon in Finder, as it has been called since 1991, and the resources that hold it. No document has such
#: a name: it ends in a carriage return.
_ICON = "Icon\r"
ONLY_NOISE: Final = frozenset({_ICON, f"._{_ICON}"})

_EXACT: dict[str, Callable[[bytes], bool]] = {
    ".ds_store": _is_ds_store,
    ".localized": _never,
    ".metadata_never_index": _never,
}


def _format_of(name: str) -> Callable[[bytes], bool] | None:
    if name.startswith("._"):
        return _is_apple_double
    if name.startswith("~$"):
        return _is_office_owner
    if name.startswith(".~lock.") and name.endswith("#"):
        return _is_libreoffice_lock
    if name == _ICON:
        return _never
    if not name.startswith("."):
        return None
    return _is_vim_swap if _SWAP_NAME.match(name) else _EXACT.get(name.lower())


def is_noise_name(name: str) -> bool:
    """Return whether what is kept under this name may be noise."""
    return (name[:1] in (".", "~") or name == _ICON) and _format_of(name) is not None


def is_noise(name: str, content: bytes) -> bool:
    """Return whether this content under this name is noise, and no document."""
    matches = _format_of(name)
    return matches is not None and len(content) <= NOISE_BYTES_MAX and (not content or matches(content))

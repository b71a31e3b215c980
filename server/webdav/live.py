"""Live properties: what every resource has by itself, each as one column over many items.

A *column* turns a list of items into the texts that one slot of a template takes, so that a listing of thousands is a
few passes instead of a call for each item and property.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from config.clock import SECOND_US, now_us
from providers.model import Checksums, Item, Lock, Quota
from server.webdav.dates import http_date, iso_date, iso_of_http
from server.webdav.urls import href_of
from server.webdav.xml import MICROSOFT, escape, inner_text

Column = Callable[[Sequence[Item]], list[str]]

WIN32_MODIFIED, WIN32_CREATED = f"{MICROSOFT}Win32LastModifiedTime", f"{MICROSOFT}Win32CreationTime"
CREATED, RESOURCETYPE = "{DAV:}creationdate", "{DAV:}resourcetype"
LOCKDISCOVERY, SUPPORTEDLOCK = "{DAV:}lockdiscovery", "{DAV:}supportedlock"
QUOTA_USED, QUOTA_AVAILABLE = "{DAV:}quota-used-bytes", "{DAV:}quota-available-bytes"

#: What rclone compares contents by: ownCloud's way, and Fastmail's.
OC_CHECKSUMS, ME_SHA1 = "{http://owncloud.org/ns}checksums", "{ME:}sha1hex"
CHECKSUMS = frozenset({OC_CHECKSUMS, ME_SHA1})

_ENTRY = "<D:lockentry><D:lockscope><D:%s/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
SUPPORTED_LOCKS = _ENTRY % "exclusive" + _ENTRY % "shared"

_TYPES = mimetypes.MimeTypes(filenames=())
for _ending, _type in {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".dwg": "image/vnd.dwg",
    ".dxf": "image/vnd.dxf",
    ".md": "text/markdown",
    ".7z": "application/x-7z-compressed",
}.items():
    _TYPES.add_type(_type, _ending)


def media_type(name: str) -> str:
    """Return the media type that a document's name stands for. Nothing outside this program has a say in it."""
    dot = name.rfind(".")
    return _type_of_ending(name[dot:].lower()) if dot > 0 else "application/octet-stream"


@lru_cache(maxsize=4096)
def _type_of_ending(ending: str) -> str:
    return _TYPES.guess_type(f"x{ending}", strict=False)[0] or "application/octet-stream"


def _supported(items: Sequence[Item]) -> list[str]:
    return ["" if item.is_past or item.space is None else SUPPORTED_LOCKS for item in items]


#: What stands between the tags, for documents and folders alike.
_BOTH: dict[str, Column] = {
    CREATED: lambda items: [iso_date(item.created // SECOND_US) for item in items],
    "{DAV:}displayname": lambda items: [escape(item.name) for item in items],
    "{DAV:}getlastmodified": lambda items: [http_date(item.modified // SECOND_US) for item in items],
    SUPPORTEDLOCK: _supported,
    WIN32_MODIFIED: lambda items: [http_date(item.modified // SECOND_US) for item in items],
}
DOCUMENT: dict[str, Column] = {
    **_BOTH,
    "{DAV:}getcontentlength": lambda items: [str(item.size) for item in items],
    "{DAV:}getcontenttype": lambda items: [media_type(item.name) for item in items],
    "{DAV:}getetag": lambda items: [item.etag for item in items],
}
FOLDER: dict[str, Column] = _BOTH
QUOTAS = frozenset({QUOTA_USED, QUOTA_AVAILABLE})
#: Live, but from elsewhere than the item: see `server.webdav.sheets`. Of these only locks are in `allprop`; RFC 4331
#: says so of the quota.
ELSEWHERE = frozenset({LOCKDISCOVERY, *QUOTAS, *CHECKSUMS})
#: What `allprop` means. Windows asks by name for its own.
ALL_OF_DOCUMENT = tuple(name for name in (*DOCUMENT, RESOURCETYPE, LOCKDISCOVERY) if name != WIN32_MODIFIED)
ALL_OF_FOLDER = tuple(name for name in (*FOLDER, RESOURCETYPE, LOCKDISCOVERY) if name != WIN32_MODIFIED)
LIVE = frozenset({*DOCUMENT, *FOLDER, RESOURCETYPE, *ELSEWHERE})
#: What Explorer reads of a listing for which it sent no body. It takes names from hrefs, and when a document was made
#: from `creationdate`, which says what it set itself (`created_as_set`): once is enough.
OF_EXPLORER = (
    CREATED,
    "{DAV:}getcontentlength",
    "{DAV:}getlastmodified",
    RESOURCETYPE,
    f"{MICROSOFT}Win32FileAttributes",
)


def created_as_set(item: Item, dead: Mapping[str, str]) -> str:
    """Return when an item was made, as Explorer said where it did."""
    text = dead.get(WIN32_CREATED)
    return (None if text is None else _said(text)) or iso_date(item.created // SECOND_US)


@lru_cache(maxsize=16_384)
def _said(text: str) -> str | None:
    return iso_of_http(inner_text(WIN32_CREATED, text))


def quota_text(name: str, quota: Quota | None) -> str | None:
    """Return a quota property of RFC 4331, or None where it is unknown or there is no limit to speak of."""
    if quota is None:
        return None
    if name == QUOTA_USED:
        return str(quota.used)
    return None if quota.available is None else str(quota.available)


def checksum_text(name: str, sums: Checksums | None) -> str | None:
    """Return a property that holds checksums, or None where they are unknown."""
    if sums is None:
        return None
    if name == ME_SHA1:
        return sums.sha1.hex()
    return f'<x:checksum xmlns:x="http://owncloud.org/ns">SHA1:{sums.sha1.hex()} MD5:{sums.md5.hex()}</x:checksum>'


def active_locks(locks: Sequence[Lock]) -> str:
    """Return the content of `lockdiscovery` (RFC 4918 15.8). What the lock hides, it leaves out."""
    return "".join(map(_active_lock, locks))


def _active_lock(lock: Lock) -> str:
    left = max(0, min(lock.seconds, -(-(lock.expires_at - now_us()) // SECOND_US)))
    token = f"<D:locktoken><D:href>{escape(lock.token)}</D:href></D:locktoken>" if lock.token else ""
    return (
        "<D:activelock><D:locktype><D:write/></D:locktype>"
        f"<D:lockscope><D:{'shared' if lock.is_shared else 'exclusive'}/></D:lockscope>"
        f"<D:depth>{'infinity' if lock.is_deep else '0'}</D:depth>{lock.owner}"
        f"<D:timeout>Second-{left}</D:timeout>{token}"
        f"<D:lockroot><D:href>{href_of(lock.root)}</D:href></D:lockroot></D:activelock>"
    )

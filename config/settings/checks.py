"""What makes a value of the right type a wrong one. Each check returns the end of a sentence, or None."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from config.addresses import network

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](?::[0-9]{1,5})?")


def database_url(value: str) -> str | None:
    """Allow nothing, or a PostgreSQL that SQLAlchemy reaches through psycopg."""
    if not value:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        return "must begin with postgresql://, or be empty for SQLite"
    if not parts.path.strip("/"):
        return "names no database after the host"
    try:
        _ = parts.port
    except ValueError:
        return "has a port that is none"
    return None


def time_zone(value: str) -> str | None:
    """Allow the names of the IANA time zone database."""
    if value == "UTC":
        return None
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        return "is no time zone this machine knows: write it like Europe/Stockholm"
    return None


def host(value: str) -> str | None:
    """Allow an address or the name of a host."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not _HOST.fullmatch(value) or value.replace(".", "").isdigit():
            return "is neither an address nor the name of a host"
    return None


def host_or_nothing(value: str) -> str | None:
    """Allow what `host` does, or nothing."""
    return host(value) if value else None


def origins(value: tuple[str, ...]) -> str | None:
    """Allow what RFC 6454 serialises: scheme, host, port, nothing after."""
    for each in value:
        if not _ORIGIN.fullmatch(each):
            return (
                f"has {each!r}: write an origin in lower case, like https://files.example, with nothing after the host"
            )
    return None


def networks(value: tuple[str, ...]) -> str | None:
    """Allow addresses and networks in CIDR form."""
    for each in value:
        try:
            network(each)
        except ValueError:
            return f"has {each!r}, which is no network: write it like 192.0.2.0/24"
    return None


def variable(value: str) -> str | None:
    """Allow names of environment variables."""
    return None if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) else "is no name of an environment variable"


def plain_name(value: str) -> str | None:
    """Allow the name of a file without a folder."""
    return None if re.fullmatch(r"[A-Za-z0-9_.-]+", value) and value not in (".", "..") else "must be a plain name"

"""Every setting there is: name, type, default, bounds, a sentence. A section is a dataclass with a docstring."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints
from zoneinfo import ZoneInfo

from config.settings import checks

DAY_SECONDS = 24 * 3600
PREFIX = "MELLANRUM_"

#: Returns what is wrong with a value, as the end of a sentence that begins with the setting's name; None: nothing.
Check = Callable[[Any], str | None]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the schema says of one setting beside its type and default."""

    sentence: str
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    check: Check | None = None
    is_secret: bool = False
    example: object = None


def setting(default: Any, sentence: str, **meaning: Any) -> Any:
    """Declare a setting."""
    return field(default=default, metadata={"meaning": Meaning(sentence, **meaning)})


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationSettings:
    """Which installation this is."""

    data_folder: Path | None = setting(
        None, "Where everything that is stored stands; `--data` goes before it.", example="/srv/mellanrum/data"
    )
    database_url: str = setting(
        "",
        "A PostgreSQL database that holds nothing else, as an URL, libpq's options as its query; "
        "empty: SQLite in the data folder.",
        check=checks.database_url,
        is_secret=True,
        example="postgresql://mellanrum@db.example/mellanrum",
    )
    time_zone: str = setting(
        "UTC",
        "The zone in which the days of `.history` end.",
        check=checks.time_zone,
        example="Europe/Stockholm",
    )
    quota_default_bytes: int = setting(
        0, "What a new space may hold, in sealed bytes; 0: no limit.", minimum=0, maximum=2**60
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySettings:
    """Where the root key comes from. Without it nothing can be read, so keep a copy elsewhere."""

    source: str = setting("file", "What holds the root key.", choices=("file", "environment", "systemd", "command"))
    file: Path | None = setting(
        None,
        "For `file`: its path, mode 0600, never inside the data folder; unset: <folder>.key beside it.",
        example="/etc/mellanrum/root.key",
    )
    variable: str = setting(
        "MELLANRUM_ROOT_KEY",
        "For `environment`: the variable that has the key, as 64 hexadecimal digits.",
        check=checks.variable,
    )
    credential: str = setting(
        "mellanrum.key", "For `systemd`: the name given in LoadCredential=.", check=checks.plain_name
    )
    command: tuple[str, ...] = setting(
        (), "For `command`: a program and its arguments, which prints the key.", example=["/usr/bin/pass", "mellanrum"]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """The front door for WebDAV and the portal."""

    host: str = setting("127.0.0.1", "The address to listen on; `::` for all.", check=checks.host)
    port: int = setting(8080, "The port to listen on; 0: any free one.", minimum=0, maximum=65535)
    workers: int = setting(0, "How many processes serve; 0: one a core, eight at most.", minimum=0, maximum=256)
    worker_threads: int = setting(16, "How many requests one process serves at a time.", minimum=1, maximum=512)
    tls_certificate_file: Path | None = setting(
        None, "The certificate and its chain, in PEM; unset: plain HTTP.", example="/etc/mellanrum/tls.pem"
    )
    tls_key_file: Path | None = setting(None, "The certificate's key, in PEM.", example="/etc/mellanrum/tls.key")
    self_signed: bool = setting(False, "Make a certificate by ourselves, for a first try; Explorer distrusts it.")
    strict_transport_seconds: int = setting(
        365 * 86_400,
        "How long browsers that came over TLS come over it alone, to any port of the host name "
        "(Strict-Transport-Security); 0: as they like, and so with `self_signed`.",
        minimum=0,
        maximum=2 * 365 * 86_400,
    )
    public_origins: tuple[str, ...] = setting(
        (),
        "The origins under which people reach us; empty: whatever the Host header says.",
        check=checks.origins,
        example=["https://files.example"],
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "Networks of reverse proxies whose word about the client is believed.",
        check=checks.networks,
        example=["127.0.0.1/32", "::1/128"],
    )
    forwarded_header: str = setting(
        "x-forwarded",
        "In which headers they give it: X-Forwarded-For, -Proto and -Host, or Forwarded (RFC 7239).",
        choices=("x-forwarded", "forwarded"),
    )
    proxy_protocol_from: tuple[str, ...] = setting(
        (),
        "Networks of balancers whose connections begin with a PROXY protocol header, version 1 or 2.",
        check=checks.networks,
        example=["192.0.2.10/32"],
    )
    connections_max: int = setting(
        10_000,
        "How many connections one process holds; beyond that, those nearest to their end make room.",
        minimum=64,
        maximum=1_000_000,
    )
    header_read_seconds_max: int = setting(
        20, "How long a client may take to send the headers of a request.", minimum=1, maximum=600
    )
    # After a minute without a line TCP may take another to try again. Nothing that is cut off can be resumed here.
    body_idle_seconds_max: int = setting(
        300, "How long a client may send or take nothing in the middle of a request.", minimum=1, maximum=3600
    )
    keep_alive_seconds_max: int = setting(75, "How long an idle connection stays open.", minimum=1, maximum=3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpSettings:
    """The front door for SFTP."""

    enabled: bool = setting(True, "Listen for SFTP at all.")
    host: str = setting("127.0.0.1", "The address to listen on; `::` for all.", check=checks.host)
    port: int = setting(2022, "The port to listen on; 0: any free one.", minimum=0, maximum=65535)
    workers: int = setting(0, "How many processes serve; 0: one a core, four at most.", minimum=0, maximum=256)
    worker_threads: int = setting(
        16, "How many operations on documents one process does at a time.", minimum=1, maximum=512
    )
    connection: str = setting(
        "auto",
        "`auto`: the faster connection, with the versions of asyncssh it was tested with; `stock`: asyncssh's own.",
        choices=("auto", "stock"),
    )
    key_and_code: str = setting(
        "never",
        "Who must show a code besides a public key: nobody, whoever a second factor is demanded of, or all.",
        choices=("never", "second_factor", "always"),
    )
    legacy_algorithms: bool = setting(
        False, "Take what old clients need and guidance advises against: group 14 with SHA-1, CBC, SHA-1 MACs."
    )
    # A person compares a fingerprint, types a password and looks for a code in it all. OpenSSH gives as much.
    sign_in_seconds_max: int = setting(120, "How long signing in may take.", minimum=5, maximum=600)
    sign_in_tries_max: int = setting(
        10, "Failures after which a connection is cut; each key a client offers in vain is one.", minimum=1, maximum=100
    )
    keep_alive_seconds: int = setting(
        30, "How often a silent client is asked whether it is there; three times in vain, it is cut.",
        minimum=5, maximum=3600,
    )  # fmt: skip
    # Each costs some 20 KiB (docs/BENCHMARKS.md), not the megabyte for which a cap of 100 was meant. Whoever would keep
    # honest people out needs as many addresses as this is, with one connection of each: with 100 a small botnet could.
    strangers_max: int = setting(
        1000,
        "Connections not signed in yet; beyond, the eldest of the address that has most is cut.",
        minimum=10,
        maximum=100_000,
    )
    # An office comes by one address, and after an outage all at once: a line with 200 ms takes two seconds to sign in.
    strangers_per_address_max: int = setting(
        100, "The same, of one address; the eldest is cut.", minimum=1, maximum=10_000
    )
    connections_max: int = setting(4000, "All connections together; beyond, no more.", minimum=20, maximum=1_000_000)
    connections_per_person_max: int = setting(100, "Connections of one person.", minimum=1, maximum=100_000)
    channels_max: int = setting(10, "Sessions on one connection.", minimum=1, maximum=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """How much one client may ask for."""

    header_bytes_max: int = setting(32 * 1024, "The headers of a request.", minimum=1024, maximum=1024**2)
    header_fields_max: int = setting(100, "How many headers a request may have.", minimum=10, maximum=10_000)
    xml_bytes_max: int = setting(
        64 * 1024,
        "The XML body of a request, and all names in it together, each with its namespace.",
        minimum=1024,
        maximum=16 * 1024**2,
    )
    xml_levels_max: int = setting(32, "How deep XML may be nested.", minimum=4, maximum=1000)
    xml_elements_max: int = setting(1000, "How many elements XML may have.", minimum=10, maximum=1_000_000)
    ranges_max: int = setting(8, "How many ranges one request may ask for.", minimum=1, maximum=1000)
    name_bytes_max: int = setting(
        255,
        "The name of a new document or folder, in UTF-8; what stands keeps its name.",
        minimum=32,
        maximum=255,
    )
    depth_levels_max: int = setting(
        100,
        "How many names the path of something new may have, that of its space among them.",
        minimum=2,
        maximum=100,
    )
    properties_bytes_max: int = setting(
        256 * 1024,
        "All that programs leave as properties beside one document or folder, names included.",
        minimum=4096,
        maximum=16 * 1024**2,
    )
    copy_nodes_max: int = setting(
        20_000,
        "How many documents and folders one copy, or one move into another space, may take along.",
        minimum=100,
        maximum=1_000_000,
    )
    locks_per_person_max: int = setting(
        10_000, "How many locks of one person may stand at once.", minimum=16, maximum=1_000_000
    )
    lock_seconds_max: int = setting(3600, "How long a lock lasts unless renewed.", minimum=60, maximum=3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySettings:
    """How versions are told from new documents, and how long what is unfinished is kept."""

    identity_window_seconds: int = setting(
        15,
        "How long a name just vacated stays with its document, for programs that save by renaming.",
        minimum=0,
        maximum=300,
    )
    erasure_persons: int = setting(
        2, "How many different persons it takes to erase something: one asks, one approves.", minimum=1, maximum=2
    )
    condemned_seconds: int = setting(
        DAY_SECONDS,
        "How long what was erased stays in its packs, unreferred to, for readers and backups under way to end.",
        minimum=0,
        maximum=90 * DAY_SECONDS,
    )
    draft_seconds_max: int = setting(
        7 * DAY_SECONDS, "How long an interrupted upload can be resumed.", minimum=3600, maximum=90 * DAY_SECONDS
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleSettings:
    """What guessing of passwords costs."""

    account_failures_free: int = setting(
        5, "Failures in a row on an account before the first wait.", minimum=1, maximum=100
    )
    account_failures_max: int = setting(
        100,
        "Failures in a row after which an account takes no password until somebody releases it (`mellanrum person "
        "release`, or a new password), or a month without a try. A fifth are kept for networks it is known from.",
        minimum=10,
        maximum=100,
    )
    network_failures_free: int = setting(
        20, "Failures in a row from a network before the first wait.", minimum=1, maximum=10_000
    )
    network_ipv4_bits: int = setting(24, "How much of an IPv4 address makes a network.", minimum=8, maximum=32)
    network_ipv6_bits: int = setting(64, "How much of an IPv6 address makes a network.", minimum=16, maximum=128)
    wait_seconds_first: int = setting(1, "The first wait; each failure after it doubles it.", minimum=1, maximum=3600)
    wait_seconds_max: int = setting(900, "The longest wait.", minimum=1, maximum=DAY_SECONDS)
    password_cache_seconds: int = setting(
        300, "How long a password that was right is not hashed again; 0: hash each time.", minimum=0, maximum=300
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeSettings:
    """When a device is paused that changes or deletes far more documents than it ever did: harmful programs do."""

    enabled: bool = setting(True, "Count and pause at all.")
    window_seconds: int = setting(
        600, "Over how long it counts; a document counts once in it.", minimum=10, maximum=DAY_SECONDS
    )
    documents_min: int = setting(
        200,
        "How many documents a device may always rewrite, delete or move within the window, those in their first minute "
        "not counted; 0: never pause.",
        minimum=0,
        maximum=1_000_000,
    )
    factor: int = setting(
        5,
        "Beyond that, how many times the most that it did in a window on an earlier day.",
        minimum=1,
        maximum=1000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """Mail to those who look after the installation, when a device was paused. Empty `host`: none is sent."""

    host: str = setting("", "The SMTP server.", check=checks.host_or_nothing, example="smtp.example")
    port: int = setting(587, "Its port: 587 for `starttls`, 465 for `tls`.", minimum=1, maximum=65535)
    security: str = setting(
        "starttls",
        "TLS, checked against the system's authorities; with `none` neither password nor names are sent.",
        choices=("starttls", "tls", "none"),
    )
    ca_file: Path | None = setting(
        None, "An authority of your own to trust instead, in PEM.", example="/etc/mellanrum/mail-ca.pem"
    )
    user: str = setting("", "Whom to sign in as; empty: nobody.", example="mellanrum")
    password: str = setting(
        "", "The password; better in the environment, or a file.", example="a long one", is_secret=True
    )
    password_file: Path | None = setting(
        None, "A file that holds the password, and nothing else.", example="/etc/mellanrum/mail-password"
    )
    sender: str = setting("", "The address that mail comes from.", example="mellanrum@files.example")
    recipients: tuple[str, ...] = setting((), "The addresses that it goes to.", example=["it@files.example"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """How the processes behave."""

    log_level: str = setting("info", "The least that is logged.", choices=("debug", "info", "warning", "error"))
    drain_seconds: int = setting(
        30, "How long requests under way may go on once the server is told to stop.", minimum=0, maximum=3600
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one installation, checked."""

    installation: InstallationSettings = InstallationSettings()
    key: KeySettings = KeySettings()
    http: HttpSettings = HttpSettings()
    sftp: SftpSettings = SftpSettings()
    limits: LimitSettings = LimitSettings()
    history: HistorySettings = HistorySettings()
    throttle: ThrottleSettings = ThrottleSettings()
    brake: BrakeSettings = BrakeSettings()
    mail: MailSettings = MailSettings()
    process: ProcessSettings = ProcessSettings()

    @property
    def folder(self) -> Path:
        """The data folder. `load` refuses settings without one unless told that none is needed."""
        assert self.installation.data_folder is not None
        return self.installation.data_folder

    @property
    def key_file(self) -> Path:
        """Where the root key stands if `key.source` is "file"."""
        return self.key.file or self.folder.with_name(self.folder.name + ".key")

    @property
    def zone(self) -> tzinfo:
        """The zone in which the installation's days begin and end."""
        name = self.installation.time_zone
        return UTC if name == "UTC" else ZoneInfo(name)

    @property
    def workers(self) -> int:
        """How many HTTP processes to run."""
        return self.http.workers or min(8, os.cpu_count() or 1)

    @property
    def sftp_workers(self) -> int:
        """How many SFTP processes to run."""
        return self.sftp.workers or min(4, os.cpu_count() or 1)


class Named(NamedTuple):
    """One setting with all that is known of it. `kind` is its type: str, int, bool, Path or tuple."""

    section: str
    name: str
    kind: type
    default: Any
    meaning: Meaning

    @property
    def key(self) -> str:
        """As errors and `overrides` name it: `http.port`."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it: `MELLANRUM_HTTP_PORT`."""
        return f"{PREFIX}{self.section}_{self.name}".upper()


def sections() -> dict[str, type]:
    """Return each section's name and dataclass, in the order of the file."""
    hints = get_type_hints(Settings)
    return {each.name: hints[each.name] for each in dataclasses.fields(Settings)}


def all_settings() -> Iterator[Named]:
    """Yield every setting there is."""
    for section, kind in sections().items():
        hints = get_type_hints(kind)
        for each in dataclasses.fields(kind):
            yield Named(section, each.name, _plain(hints[each.name]), each.default, each.metadata["meaning"])


def _plain(hint: Any) -> type:
    plain = {Path | None: Path, tuple[str, ...]: tuple}
    result: type = plain.get(hint, hint)
    return result

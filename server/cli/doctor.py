"""`mellanrum doctor`: is this installation fit to serve? Each check says what to do if it is not."""

from __future__ import annotations

import argparse
import shlex
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import func, select

from config.clock import SECOND_US, iso_second, iso_utc, now_us
from config.errors import MellanrumError
from config.settings import Settings
from providers import tables
from server.cli import keys
from server.cli.errors import TroubleFound
from server.cli.frame import Answer, Desk, Noun
from server.cli.ownership import name_of, strays
from server.cli.sshkeys import host_keys
from server.cli.text import clock_doubt, counted, size
from server.http import tls

ROOM_BYTES_BAD, ROOM_BYTES_LOW = 256 * 2**20, 5 * 2**30
#: A renewal that runs by itself comes before that.
CERTIFICATE_DAYS_LOW = 7
#: Less that broken uploads left is not worth a word.
WAITING_BYTES_MAX = 64 * 2**20
#: How many of a kind are named one by one.
SHOWN = 3
CLOCK_SECONDS_MAX = 60
#: No clock of a machine that runs this shows an earlier year.
YEAR_MIN = 2026

State = Literal["good", "look", "bad"]


@dataclass(frozen=True)
class Finding:
    """What one check found. `look`: it works, but somebody should know."""

    check: str
    state: State
    says: str


def add_to(nouns: Noun) -> None:
    """Add the command."""
    nouns.command("doctor", doctor, "Look whether the installation is fit to serve, and say what to mend.")


def doctor(desk: Desk, options: argparse.Namespace) -> Answer:
    """Run every check."""
    settings = desk.settings  # wrong settings are an error of their own, which names them all
    read = "no file has any" if desk.settings_file is None else f"every one in {desk.settings_file} can be used"
    findings = [Finding("settings", "good", read)]
    for name, check in CHECKS.items():
        try:
            findings.extend(Finding(name, state, says) for state, says in check(desk, settings))
        except MellanrumError as error:
            findings.append(_refused(name, str(error), findings))
        except OSError as error:
            findings.append(Finding(name, "bad", f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")))
    bad = sum(each.state == "bad" for each in findings)
    marks = {"good": "  ok", "look": "look", "bad": " BAD"}
    lines = (f"{marks[each.state]}  {each.check}: {each.says}" for each in findings)
    document = {"fit": not bad, "checks": [{"check": f.check, "state": f.state, "says": f.says} for f in findings]}
    return Answer(document, lines, TroubleFound(count=bad) if bad else None)


def _refused(check: str, says: str, before: list[Finding]) -> Finding:
    """Return what a check met that could not be done. One cause is one fault, however many checks it stops."""
    first = next((finding.check for finding in before if finding.says == says), None)
    if first is None:
        return Finding(check, "bad", says)
    return Finding(check, "look", f"not looked at, for want of what {first} says above")


Found = Iterator[tuple[State, str]]


def _folder(desk: Desk, settings: Settings) -> Found:
    folder = settings.folder
    if not folder.is_dir():
        yield "bad", f'{folder} is not there: run "mellanrum --data {shlex.quote(str(folder))} init"'
        return
    loose = folder.stat().st_mode & 0o077
    yield ("look", f"others may enter {folder}: chmod 700 {folder}") if loose else ("good", f"{folder} is ours alone")


def _owners(desk: Desk, settings: Settings) -> Found:
    folder = settings.folder
    if not folder.is_dir():
        return
    owner, found = name_of(folder.stat().st_uid), list(strays(folder))
    if not found:
        yield "good", f"all that stands in {folder} belongs to {owner}, as whom the server runs"
        return
    told = "; ".join(f"{path} {why}" for path, why in found[:SHOWN])
    more = f"; {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    place = shlex.quote(str(folder))
    yield "bad", f"the server runs as {owner}, but {told}{more}: chown -R {owner} {place} && chmod -R u+rwX {place}"


def _key(desk: Desk, settings: Settings) -> Found:
    root_id, file = desk.root.id.hex(), settings.key_file
    if settings.key.source != "file":
        yield "good", f"{root_id} comes from {keys.where(settings)}"
    elif file.stat().st_dev == settings.folder.stat().st_dev:
        yield "look", f"{file} is on the same disk as the data: whoever takes the disk has both, so keep it elsewhere"
    else:
        yield "good", f"{file} is ours alone, on another disk than the data"


def _schema(desk: Desk, settings: Settings) -> Found:
    root_id = desk.looked_at.keyring.root_id
    yield "good", f"the database has the schema of this Mellanrum and opens under root key {root_id}"


def _logs(desk: Desk, settings: Settings) -> Found:
    due = desk.looked_at.due
    yield ("good", "no backup was put back without the logs telling so") if due is None else ("bad", str(due))


def _keystore(desk: Desk, settings: Settings) -> Found:
    keyring = desk.looked_at.keyring
    identities = keyring.keystore.list()
    for identity in identities:
        keyring.keystore.get(identity)
    for info in desk.looked_at.spaces.all():
        keyring.space(info.id)
    for organisation in desk.looked_at.directory.organisations():
        keyring.organisation(organisation.id)
    yield "good", f"all {len(identities)} keys can be read, and open what they should"


def _packs(desk: Desk, settings: Settings) -> Found:
    """A vault on a disk that was not mounted, or not restored, leaves everything else in order."""
    head, space = tables.head.c, tables.space.c
    filled = select(head.space).where(head.sealed_bytes > 0, head.space == space.id, space.ended_at.is_(None))
    with desk.looked_at.database.read() as connection:
        spaces = list(connection.execute(filled).scalars())
    lost = [found for found in spaces if not desk.looked_at.vault.packs(found)]
    if lost:
        place = settings.folder / "vault"
        yield "bad", f"{len(lost)} of {len(spaces)} spaces have no pack in {place}: mount or restore that folder"
    else:
        yield "good", 'every space has its packs; "mellanrum verify" reads them'


def _sign_ins(desk: Desk, settings: Settings) -> Found:
    installation = desk.looked_at
    people = installation.directory.people()
    tries = installation.authenticator.tries(people)
    locked = [person.login for person in people if person.id in tries and tries[person.id].is_locked]
    for login in locked[:SHOWN]:
        yield "look", f"{login} takes no password after many failures: mellanrum person release {shlex.quote(login)}"
    if len(locked) > SHOWN:
        yield "look", f"{len(locked) - SHOWN} more take none"
    if not locked:
        yield "good", "no account is locked"


def _host_keys(desk: Desk, settings: Settings) -> Found:
    if not settings.sftp.enabled:
        return
    found = host_keys(desk.looked_at).all()
    if not found:
        yield "look", "there are none yet; the first start makes them"
    for key in found:
        yield "good", f"{key.name} {key.fingerprint}{' (announced, not in use yet)' if key.is_next else ''}"


def _certificate(desk: Desk, settings: Settings) -> Found:
    http = settings.http
    if http.tls_certificate_file is None or http.tls_key_file is None:
        return
    left = tls.ends_at(tls.read(http.tls_certificate_file, http.tls_key_file)) - datetime.now(UTC)
    file = http.tls_certificate_file
    if left < timedelta(0):
        yield "bad", f"{file} ran out {counted((-left).days, 'day')} ago: renew it, then reload the server (SIGHUP)"
    elif left < timedelta(days=CERTIFICATE_DAYS_LOW):
        yield "look", f"{file} runs out in {counted(left.days, 'day')}: renew it, then reload the server (SIGHUP)"
    else:
        yield "good", f"{file} fits its key, and holds for {counted(left.days, 'day')}"


def _room(desk: Desk, settings: Settings) -> Found:
    free = shutil.disk_usage(settings.folder).free
    if free < ROOM_BYTES_BAD:
        yield "bad", f"{size(free)} are free: make room, or uploads will be refused"
    elif free < ROOM_BYTES_LOW:
        yield "look", f"{size(free)} are free: make room soon"
    else:
        yield "good", f"{size(free)} are free"
    waiting = desk.looked_at.erasures.letting_go.waiting_bytes()
    if waiting > WAITING_BYTES_MAX:
        yield "look", f'{size(waiting)} of broken uploads take room until the hourly sweep, or "mellanrum erase sweep"'


def _ports(desk: Desk, settings: Settings) -> Found:
    for name, host, port in (
        ("HTTP", settings.http.host, settings.http.port),
        ("SFTP", settings.sftp.host, settings.sftp.port if settings.sftp.enabled else 0),
    ):
        if not port:
            continue
        why = taken(host, port)
        if why is None:
            yield "good", f"{name} port {port} on {host} is free"
        else:
            yield "look", f"{name} port {port} on {host} cannot be listened on ({why}); fine if our server runs"


def taken(host: str, port: int) -> str | None:
    """Return why nothing can listen on a port, None if something can."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def _clock(desk: Desk, settings: Settings) -> Found:
    if time.gmtime().tm_year < YEAR_MIN:
        yield "bad", f"this machine's clock says {iso_utc(now_us())[:10]}: set it"
        return
    installation = desk.looked_at
    with installation.database.read() as connection:
        theirs, ours = installation.database.now_us(connection), now_us()
        newest = connection.execute(select(func.max(tables.head.c.at))).scalar() or 0
    limit = CLOCK_SECONDS_MAX * SECOND_US
    if abs(theirs - ours) > limit:
        yield "bad", f"the database's clock differs by {abs(theirs - ours) // SECOND_US} s from this machine's"
    elif newest > ours + limit:
        yield "bad", f"the newest change is of {iso_utc(newest)}, which is yet to come: set this machine's clock"
    else:
        yield "good", f"it is {iso_second(ours)}, after every change stored"
    for doubt in clock_doubt(installation.storage.steady.seen()):
        yield "look", doubt


CHECKS: dict[str, Callable[[Desk, Settings], Found]] = {
    "data folder": _folder,
    "owners": _owners,
    "root key": _key,
    "schema": _schema,
    "logs": _logs,
    "keystore": _keystore,
    "packs": _packs,
    "sign-ins": _sign_ins,
    "host keys": _host_keys,
    "certificate": _certificate,
    "disk room": _room,
    "ports": _ports,
    "clock": _clock,
}

"""`mellanrum init`, `serve`, `upgrade` and `verify`: what concerns an installation as a whole."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from config import logging as house_logging
from config import schema
from config.database import Database
from config.errors import NotInitialised
from config.settings import Settings
from providers.drive.transaction import actor_of
from providers.installation import Installation, root_key
from server import processes
from server.cli import asking, keys
from server.cli.errors import DamageFound
from server.cli.frame import Answer, Desk, Noun
from server.cli.holding import Hold
from server.cli.making import Names, whole_or_not_at_all
from server.cli.sshkeys import fingerprints, host_keys
from server.cli.text import counted
from server.processes import ReadyInfo
from server.ssh.hostkeys import HostKey

_INIT = "mellanrum init"


def add_to(nouns: Noun) -> None:
    """Add the commands."""
    command = nouns.command("init", init, "Make an installation: its root key, its supplier, a first administrator.")
    command.add_argument("--supplier", metavar="NAME", help="the supplier's name; asked for if missing")
    command.add_argument("--admin", metavar="LOGIN", help="the first administrator's login; asked for if missing")
    command.add_argument("--admin-name", metavar="NAME", help="and name")
    asking.add_password(command)
    command.add_argument("--recovery-kit", metavar="FILE", type=Path, help="write the root key under a passphrase too")
    asking.add_passphrase(command)
    command = nouns.command("serve", serve, "Serve until told to stop.")
    command.add_argument("--http-host", metavar="HOST", help="instead of http.host")
    command.add_argument("--http-port", metavar="PORT", type=int, help="instead of http.port; 0: any free port")
    command.add_argument("--sftp-host", metavar="HOST", help="instead of sftp.host")
    command.add_argument("--sftp-port", metavar="PORT", type=int, help="instead of sftp.port; 0: any free port")
    command.add_argument("--workers", metavar="N", type=int, help="instead of http.workers and sftp.workers")
    command.add_argument("--tls", action="store_true", help="with a certificate of our own, for a first try")
    nouns.command("upgrade", upgrade, "Bring the database to the schema of this Mellanrum. Take a backup before.")
    nouns.command("verify", verify, "Read all that is stored, and name whatever does not hold.")


def init(desk: Desk, options: argparse.Namespace) -> Answer:
    """Make an installation. All that can be wrong is looked at before anything is made."""
    settings = desk.settings
    Installation.require_none(settings.folder)
    Installation.require_empty_database(settings)
    password = asking.new_password(options, command=_INIT)
    supplier = options.supplier or _named("The supplier's name: ", "--supplier")
    login = options.admin or _named("Login of the first administrator: ", "--admin")
    name = options.admin_name or (login if options.admin else _named("Their name: ", "--admin-name"))
    names = Names.checked(supplier, login, name, password)
    kit = None if options.recovery_kit is None else keys.NewKit(options.recovery_kit, options, _INIT)
    try:
        with whole_or_not_at_all(settings):
            return _made(desk, names, password, kit)
    except BaseException:
        if kit is not None:
            kit.drop()
        raise


def _named(question: str, option: str) -> str:
    return asking.typed(question, option, _INIT, shown=True)


def _made(desk: Desk, names: Names, password: str | None, kit: keys.NewKit | None) -> Answer:
    settings = desk.settings
    made = Installation.create(settings.folder, settings, supplier_name=names.supplier)
    try:
        document, lines = _first_administrator(made, names.login, names.administrator, password)
        document |= {"data": str(settings.folder), "supplier": names.supplier, "root_id": made.keyring.root_id}
        made_keys = host_keys(made).make_missing()
        document["host_keys"] = {key.name: key.fingerprint for key in made_keys}
    finally:
        made.close()
    if settings.key.source == "file":
        document["key_file"] = str(settings.key_file)
    told = [f"Made the installation of {names.supplier} in {settings.folder}.", "", *lines, "", *_about_key(desk)]
    told += ["", "Host keys for SFTP, for people to compare:", *(f"  {line}" for line in fingerprints(made_keys))]
    if kit is not None:
        kit_document, kit_lines = kit.write(root_key(settings))
        document |= kit_document
        told += kit_lines
    told += ["", f"Now: mellanrum --data {shlex.quote(str(settings.folder))} serve"]
    return Answer(document, told)


def _first_administrator(
    made: Installation, login: str, name: str, password: str | None
) -> tuple[dict[str, Any], list[str]]:
    actor = actor_of(made.storage, made.operator())
    person = made.directory.add_person(made.directory.supplier_id, login, name, administrator=True, actor=actor)
    secret = made.directory.enrol_totp(person.id, actor=actor)
    if password is not None:
        made.directory.set_password(person.id, password, actor=actor)
    codes = made.directory.new_recovery_codes(person.id, actor=actor)
    _, device_password = made.directory.add_device(person.id, "first device", actor=actor)
    document = {
        "administrator": login,
        "totp_secret": secret,
        "recovery_codes": codes,
        "device_password": device_password,
    }
    lines = [
        f"Administrator:   {login}"
        + ("" if password is not None else f"  (no password yet: mellanrum person password {shlex.quote(login)})"),
        f"Second factor:   {secret}  (type it into an authenticator)",
        f"Recovery codes:  {'  '.join(codes[:5])}",
        f"                 {'  '.join(codes[5:])}",
        f"Device password: {device_password}  (to mount the drive)",
        "None of these is shown again.",
    ]
    return document, lines


def _about_key(desk: Desk) -> list[str]:
    place = keys.where(desk.settings)
    return [
        f"Root key:        {place}",
        "Without it nothing that is stored can be read, by anyone. Keep a copy away from this machine, never beside",
        'the data or its backups. "mellanrum key kit FILE" writes it under a passphrase, to be printed.',
    ]


def serve(desk: Desk, options: argparse.Namespace) -> Answer:
    """Serve the installation."""
    given = {
        "http.host": options.http_host,
        "http.port": options.http_port,
        "http.workers": options.workers,
        "sftp.host": options.sftp_host,
        "sftp.port": options.sftp_port,
        "sftp.workers": options.workers,
    }
    overrides: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if options.tls:
        overrides["http.self_signed"] = True
    settings = desk.load(overrides)
    if not (settings.folder / "keystore").is_dir():
        open_first(settings)  # says what is missing
    hold = Hold.shared(settings.folder)  # before the root key is read, which nobody may change from here on
    try:
        keys_here = open_first(settings)
    except BaseException:
        hold.close()
        raise
    house_logging.set_up(settings.process.log_level)

    def ready(info: ReadyInfo) -> None:
        if options.json:
            told = {
                "http": info.http_url,
                "dav": info.dav_url,
                "fingerprint": info.fingerprint,
                "sftp": info.sftp_url or None,
                "host_keys": {key.name: key.fingerprint for key in info.host_keys},
            }
            print(json.dumps(told), flush=True)
            return
        print(f"Serving {settings.folder} at {info.dav_url} (Ctrl-C ends it)", flush=True)
        if info.fingerprint:
            print(f"Certificate SHA-256 {info.fingerprint}", flush=True)
        if info.sftp_url:
            print("\n".join([f"SFTP at {info.sftp_url}, host keys", *fingerprints(info.host_keys)]), flush=True)

    try:
        return Answer(code=processes.serve(settings.folder, settings, on_ready=ready, host_keys=keys_here))
    finally:
        hold.close()


def open_first(settings: Settings) -> list[HostKey]:
    """Open the installation once, so that what is wrong is said before any process starts; return its host keys."""
    installation = Installation.open(settings.folder, settings)
    try:
        if not settings.sftp.enabled:
            return []
        return [key for key in host_keys(installation).make_missing() if not key.is_next]
    finally:
        installation.close()


def upgrade(desk: Desk, options: argparse.Namespace) -> Answer:
    """Migrate the database."""
    settings = desk.settings
    if not settings.folder.is_dir():
        raise NotInitialised(folder=settings.folder)
    database = Database(settings.folder, settings.installation.database_url or None)
    try:
        if database.dialect == "sqlite" and not (settings.folder / "catalogue.db").exists():
            raise NotInitialised(folder=settings.folder)
        desk.confirm("Is there a backup of the database? Upgrading goes one way.")
        done = schema.upgrade(database)
        schema.check(database)
    finally:
        database.dispose()
    lines = [f"Ran {each}." for each in done] or ["Nothing to do: the schema is that of this Mellanrum."]
    return Answer({"ran": done}, lines)


def verify(desk: Desk, options: argparse.Namespace) -> Answer:
    """Verify everything stored."""
    findings = []
    installation = desk.looked_at
    with desk.progress("verifying") as bar:
        for finding in installation.verify(bar.reach):
            findings.append({"where": finding.where, "what": finding.what})
    document = {"whole": not findings, "findings": findings}
    if not findings:
        spaces = counted(len(installation.spaces.all()), "space")
        lines = [f"All that is stored holds: {spaces}, their versions, people and the audit logs."]
        return Answer(document, lines, installation.due)
    return Answer(document, (f"{f['where']}: {f['what']}" for f in findings), DamageFound(count=len(findings)))

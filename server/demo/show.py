"""How to get into the demo: as one line of JSON for scripts, and as text with a mount command for each client."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

from server.demo import world
from server.demo.plant import Access
from server.processes import ReadyInfo

#: Beside the demo's data, for clients that ask nobody.
KNOWN_HOSTS = "demo.known_hosts"
_PARAMETERS = r"HKLM\SYSTEM\CurrentControlSet\Services\WebClient\Parameters"


def as_json(info: ReadyInfo, folder: Path, people: Sequence[Access]) -> str:
    """Return all of it as one line."""
    listed = [
        {
            "user": each.user,
            "name": each.name,
            "organisation": each.organisation,
            "password": each.password,
            "totp_secret": each.totp_secret,
            "device_password": each.device_password,
            "spaces": each.spaces,
        }
        for each in people
    ]
    told = {"http": info.http_url, "dav": info.dav_url, "sftp": info.sftp_url or None, "data": str(folder)}
    return json.dumps(told | {"people": listed}, ensure_ascii=False)


def as_text(info: ReadyInfo, folder: Path, people: Sequence[Access]) -> Iterator[str]:
    """Yield all of it as lines for people."""
    members = [each for each in people if each.user.startswith(world.MEMBER)]
    yield f"The demo is served from {folder} at {info.dav_url} (Ctrl-C ends it; run it again to go on)."
    for each in [*(each for each in people if each not in members), *members[:1]]:
        yield ""
        yield f"{each.name}, {each.organisation}: {each.what}"
        sees = ", ".join(f"{space['name']} ({space['role']})" for space in each.spaces)
        yield f"  sees             {sees or 'nothing yet'}"
        yield f"  URL              {info.dav_url}"
        yield f"  user             {each.user}"
        yield f"  device password  {each.device_password}"
        yield f"  own password     {each.password}" + (
            f"  and second factor {each.totp_secret}" if each.totp_secret else ""
        )
        for client, command in (*mounts(info.dav_url, each), *over_sftp(info, folder, each)):
            yield f"  {client:<16} {command}"
    yield ""
    if info.sftp_url:
        yield f"SFTP at {info.sftp_url}. Compare the host key when you are asked:"
        yield from (f"  {key.name:<8} {key.fingerprint}" for key in info.host_keys)
        yield ""
    if len(members) > 1:
        named = f"The other members of {world.HOUSING}, each with a private folder and a device password"
        yield f"{named}; their own password is that of {members[0].user}:"
        yield from (f"  {each.user}  {each.device_password}  {each.name}" for each in members[1:])
        yield ""
    yield from on_windows(info)


def mounts(dav: str, person: Access) -> Iterator[tuple[str, str]]:
    """Yield how each client mounts the drive as a person."""
    parts = urlsplit(dav)
    secret = shlex.quote(person.device_password)
    user = shlex.quote(person.user)
    script = f'mount volume "{dav}" as user name "{person.user}" with password "{person.device_password}"'
    gio = f"dav{'s' if parts.scheme == 'https' else ''}://{quote(person.user)}@{parts.netloc}{parts.path}"
    typed = r"%s\ny\n" if parts.scheme == "https" else r"%s\n"  # it asks whether the certificate is right
    insecure = " --no-check-certificate" if parts.scheme == "https" else ""
    yield "macOS", f"osascript -e {shlex.quote(script)}"
    yield "GNOME", f"gio mount {gio}   (it asks for the device password)"
    yield "davfs2", f"printf '{typed}' {secret} | sudo mount -t davfs -o username={user},uid=$(id -u) {dav} /mnt"
    yield (
        "rclone",
        f"mkdir -p ~/mellanrum && rclone mount{insecure} --vfs-cache-mode writes "
        f"--webdav-url {dav} --webdav-user {user} "
        f'--webdav-pass "$(rclone obscure {secret})" '
        ":webdav: ~/mellanrum",
    )
    yield "Windows", f"net use M: {dav} /user:{person.user} {person.device_password}"


def known_hosts(info: ReadyInfo) -> str:
    """Return the host keys as OpenSSH's clients keep those that they know."""
    host, port = split_address(info.sftp_url)
    bare = host.strip("[]")
    named = bare if port == "22" else f"[{bare}]:{port}"
    return "".join(f"{named} {key.public}\n" for key in info.host_keys)


def over_sftp(info: ReadyInfo, folder: Path, person: Access) -> Iterator[tuple[str, str]]:
    """Yield how clients of SFTP reach the drive as a person, by its device password.

    sshfs asks nobody whether the host key is right while it reads a password: it finds the key in a file of ours.
    """
    if not info.sftp_url:
        return
    host, port = split_address(info.sftp_url)
    user, secret = shlex.quote(person.user), shlex.quote(person.device_password)
    bare = host.strip("[]")
    yield "sftp", f"sftp -P {port} {user}@{host}   (it asks for the device password)"
    known = shlex.quote(f'UserKnownHostsFile="{folder / KNOWN_HOSTS}"')
    yield (
        "sshfs",
        rf"mkdir -p ~/mellanrum && printf '%s\n' {secret} | "
        f"sshfs -p {port} -o password_stdin -o {known} {user}@{host}:/ ~/mellanrum",
    )
    yield (
        "WinSCP",
        f"sftp://{quote(person.user)}:{quote(person.device_password)}@{host}:{port}/   (paste it as the address)",
    )
    yield (
        "rclone, SFTP",
        f"rclone lsd --sftp-host {bare} --sftp-port {port} --sftp-user {user} "
        f'--sftp-pass "$(rclone obscure {secret})" :sftp:',
    )


def split_address(sftp_url: str) -> tuple[str, str]:
    """Return host and port of the address of SFTP."""
    host, _, port = sftp_url.removeprefix("sftp://").rpartition(":")
    return host, port


def on_windows(info: ReadyInfo) -> Iterator[str]:
    """Yield what Explorer needs before it mounts, and how others take a certificate of ours."""
    if info.fingerprint is None:
        yield "Windows: Explorer refuses to send a password over plain HTTP. Either start the demo with --tls, or, for"
        yield "a try on one machine alone, let Explorer do it, as administrator:"
        yield rf'  reg add "{_PARAMETERS}" /v BasicAuthLevel /t REG_DWORD /d 2 /f'
        yield "  net stop WebClient & net start WebClient"
    else:
        yield "The certificate is our own, so nobody trusts it yet. Compare its SHA-256 fingerprint before you do:"
        yield f"  {info.fingerprint}"
        yield "Windows: Explorer mounts nothing behind a certificate that it distrusts. Copy tls/self-signed.pem out of"
        yield "the data folder, and as administrator: certutil -addstore -f Root self-signed.pem"
        yield "macOS: open the file in Keychain Access and trust it. GNOME: gio takes what the system trusts:"
        yield "copy it to /usr/local/share/ca-certificates/mellanrum.crt, run sudo update-ca-certificates."
        yield "davfs2: the line above says yes to it; to be asked no more, name it as trust_server_cert in"
        yield "/etc/davfs2/davfs2.conf."
    yield "Documents over 47 MiB in Explorer, as administrator:"
    yield rf'  reg add "{_PARAMETERS}" /v FileSizeLimitInBytes /t REG_DWORD /d 4294967295 /f'
    yield "  net stop WebClient & net start WebClient"

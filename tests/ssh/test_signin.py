"""Signing in over SSH: each way, what bounds it, and each way in which others were got past."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from typing import Any

import asyncssh
import paramiko
import pytest
from asyncssh.packet import Byte, MPInt, String, UInt32
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auth.directory import SYSTEM
from auth.roles import Role, Via
from config.clock import now_us
from config.ids import new_id
from tests.ssh.doors import PASSWORD, SPACE, Door
from tests.tools import need

_numbers = itertools.count()
ALGORITHMS = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"]


def released(door: Door, login: str) -> None:
    """Let somebody try again whose sign-ins failed."""
    door.world.installation.authenticator.release(door.world.people[login], actor=SYSTEM)


class Answering(asyncssh.SSHClient):
    """A client that is asked, and remembers what."""

    def __init__(self, answers: list[str]) -> None:
        self.answers, self.asked = list(answers), []

    def kbdint_auth_requested(self) -> str:
        return ""

    def kbdint_challenge_received(self, name: str, instructions: str, lang: str, prompts: Any) -> list[str] | None:
        self.asked += [prompt for prompt, _ in prompts]
        return [self.answers.pop(0) for _ in prompts] if len(self.answers) >= len(prompts) else None

    def password_auth_requested(self) -> None:
        return None


def interactive(door: Door, login: str, *answers: str, **options: Any) -> tuple[bool, list[str]]:
    """Return whether the answers let in, and what was asked."""
    client = Answering(list(answers))
    allowed = door.may(login, client_factory=lambda: client, **options)
    return allowed, client.asked


# --- each way


def test_a_device_password(door: Door) -> None:
    assert door.may("vera", password=door.password("vera"))
    assert interactive(door, "vera", door.password("vera")) == (True, ["Password: "])
    for login, password in (("vera", "wrong"), ("nobody", "wrong"), ("nils", door.password("vera")), ("vera", "")):
        assert not door.may(login, password=password, preferred_auth="password")
    assert not door.may("vera", password=door.password("vera") + "\0", preferred_auth="password")


def test_a_device_password_for_another_door(door: Door) -> None:
    directory, vera = door.world.installation.directory, door.world.people["vera"]
    _, elsewhere = directory.add_device(vera.id, "drive", protocols=[Via.WEBDAV])
    _, here = directory.add_device(vera.id, "script", protocols=[Via.SFTP])
    assert not door.may("vera", password=elsewhere)
    assert door.may("vera", password=here)


def test_an_own_password_where_no_code_is_demanded(door: Door) -> None:
    assert door.may("vera", password=PASSWORD, preferred_auth="password")
    assert interactive(door, "vera", PASSWORD) == (True, ["Password: "])


def test_an_own_password_is_not_enough_where_a_code_is_demanded(door: Door) -> None:
    assert not door.may("anna", password=PASSWORD, preferred_auth="password")
    assert interactive(door, "anna", PASSWORD, "000000", preferred_auth="keyboard-interactive")[0] is False


def test_password_then_code_each_code_once(door: Door) -> None:
    shown = door.unused_code()
    assert interactive(door, "anna", PASSWORD, shown) == (True, ["Password: ", "Verification code: "])
    assert interactive(door, "anna", PASSWORD, shown, preferred_auth="keyboard-interactive")[0] is False
    released(door, "anna")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key(door: Door, algorithm: str) -> None:
    key = door.key("vera", algorithm)
    assert door.may("vera", client_keys=[key])
    assert not door.may("nils", client_keys=[key])
    assert not door.may("vera", client_keys=[asyncssh.generate_private_key(algorithm)])


def test_a_key_in_its_bounds(door: Door) -> None:
    ran_out = door.key("vera", expires_at=now_us() - 1)
    assert not door.may("vera", client_keys=[ran_out])
    elsewhere = door.key("vera", spaces=[new_id()])
    assert _listed(door, "vera", elsewhere) == []
    here = door.key("vera", spaces=[door.world.spaces[SPACE[1:]].id])
    assert _listed(door, "vera", here) == [SPACE[1:]]
    read_only = door.key("anna", read_only=True)
    wrote = door.run(
        need("sftp"), *door.options(), "-i", door.key_file(read_only), "-o", "IdentitiesOnly=yes", "-b", "-",
        f"anna@{door.host}", input='mkdir "/Kund AB – Sandbox/forbidden"\n',
    )  # fmt: skip
    assert wrote.returncode == 1 and "ermission denied" in wrote.stderr


def _listed(door: Door, login: str, key: asyncssh.SSHKey) -> list[str]:
    """Return what somebody sees at their root by a key."""

    async def look() -> list[str]:
        async with door.connect(login, client_keys=[key]) as connection, connection.start_sftp_client() as sftp:
            return sorted(set(await sftp.listdir("/")) - {".", ".."})

    return asyncio.run(look())


def test_a_key_whose_time_runs_out_while_it_is_in_use(door: Door) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    door.admit("vera", key.public_data, expires_at=now_us() + 4_000_000)

    async def stay() -> None:
        async with door.connect("vera", client_keys=[key]) as connection, connection.start_sftp_client() as sftp:
            assert await sftp.listdir(".")
            await asyncio.wait_for(connection.wait_closed(), 20)

    asyncio.run(stay())
    assert not door.may("vera", client_keys=[key])


class SecurityKey(asyncssh.SSHKeyPair):
    """A security key in software: what it signs is PROTOCOL.u2f's, with the touch that it attests to."""

    _key_type = "security"

    def __init__(self, *, touched: bool = True) -> None:
        self._touched = touched
        name, public = self._made()
        super().__init__(name, name, (name,), (name,), String(name) + public + String(b"ssh:"), None)

    def _made(self) -> tuple[bytes, bytes]:
        self._ed25519 = Ed25519PrivateKey.generate()
        return b"sk-ssh-ed25519@openssh.com", String(self._ed25519.public_key().public_bytes_raw())

    def _signed(self, data: bytes) -> bytes:
        return self._ed25519.sign(data)

    def sign(self, data: bytes) -> bytes:
        tail = Byte(1 if self._touched else 0) + UInt32(7)
        digest = hashlib.sha256
        signed = self._signed(digest(b"ssh:").digest() + tail + digest(data).digest())
        return String(self.algorithm) + String(signed) + tail


class EcdsaSecurityKey(SecurityKey):
    """The older kind, which the cheaper ones are."""

    def _made(self) -> tuple[bytes, bytes]:
        self._ecdsa = ec.generate_private_key(ec.SECP256R1())
        point = self._ecdsa.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return b"sk-ecdsa-sha2-nistp256@openssh.com", String(b"nistp256") + String(point)

    def _signed(self, data: bytes) -> bytes:
        return b"".join(map(MPInt, decode_dss_signature(self._ecdsa.sign(data, ec.ECDSA(SHA256())))))


SECURITY_KEYS = [SecurityKey, EcdsaSecurityKey]


@pytest.mark.parametrize("kind", SECURITY_KEYS)
def test_a_security_key(door: Door, kind: type[SecurityKey]) -> None:
    key = kind()
    assert not door.may("vera", client_keys=[key])
    door.admit("vera", key.public_data)
    assert door.may("vera", client_keys=[key])


@pytest.mark.parametrize("kind", SECURITY_KEYS)
def test_a_security_key_that_nobody_touched(door: Door, kind: type[SecurityKey]) -> None:
    key = kind(touched=False)
    door.admit("vera", key.public_data)
    assert not door.may("vera", client_keys=[key])


def test_a_key_and_a_code_with_openssh(door: Door) -> None:
    key = door.key("anna", needs_code=True)
    command = [need("sftp"), *door.options(), "-i", door.key_file(key), "-o", "IdentitiesOnly=yes"]
    command += ["-o", "PreferredAuthentications=publickey,keyboard-interactive", "-o", "NumberOfPasswordPrompts=1"]
    listed = door.run(*command, f"anna@{door.host}", answers=["000000"], input="ls\n")
    assert listed.returncode != 0
    listed = door.run(*command, f"anna@{door.host}", answers=[door.unused_code()], input="ls\n")
    assert (listed.returncode, "Sandbox" in listed.stdout) == (0, True), listed.stderr
    released(door, "anna")


def test_a_key_alone_is_half_a_sign_in(door: Door) -> None:
    """Nothing opens, and no other method than a code is of use then."""
    key = door.key("anna", needs_code=True)
    assert not door.may("anna", client_keys=[key])
    with _transport(door) as transport:
        left = transport.auth_publickey("anna", paramiko.Ed25519Key(filename=str(door.key_file(key))))
        assert left == ["keyboard-interactive"]
        with pytest.raises(paramiko.SSHException):
            transport.open_session(timeout=10)


# --- how others were got past


def _transport(door: Door) -> paramiko.Transport:
    transport = paramiko.Transport((door.host, door.port))
    transport.start_client(timeout=30)
    return transport


def test_no_channel_before_signing_in(door: Door) -> None:
    with _transport(door) as transport, pytest.raises((paramiko.SSHException, EOFError)):
        transport.open_session(timeout=10)


def test_none_is_no_way_in(door: Door) -> None:
    with _transport(door) as transport:
        with pytest.raises(paramiko.BadAuthenticationType) as refused:
            transport.auth_none("vera")
        assert set(refused.value.allowed_types) == {"publickey", "keyboard-interactive", "password"}


def test_an_empty_user(door: Door) -> None:
    assert not door.may("", password=door.password("vera"))
    assert not door.may("", client_keys=[door.key("vera")])


class Swapped(asyncssh.SSHKeyPair):
    """Shows one key when it asks, and another when it signs."""

    _key_type = "swapped"

    def __init__(self, shown: asyncssh.SSHKey, signs: asyncssh.SSHKey, *, back: bool) -> None:
        name = b"ssh-ed25519"
        self._blobs = [shown.public_data, shown.public_data if back else signs.public_data]
        self._signs = signs
        super().__init__(name, name, (name,), (name,), shown.public_data, None)

    @property
    def public_data(self) -> bytes:
        return self._blobs.pop(0) if len(self._blobs) > 1 else self._blobs[0]

    @public_data.setter
    def public_data(self, value: bytes) -> None: ...

    def sign(self, data: bytes) -> bytes:
        return self._signs.sign(data, b"ssh-ed25519")


@pytest.mark.parametrize("back", [False, True])
def test_a_key_swapped_after_the_probe(door: Door, back: bool) -> None:
    """The key of somebody who may is shown when asking; a signature by another follows, under either's name."""
    known, own = door.key("vera"), asyncssh.generate_private_key("ssh-ed25519")
    assert not door.may("vera", client_keys=[Swapped(known, own, back=back)])
    assert door.may("vera", client_keys=[Swapped(known, known, back=back)])


class Sha1(asyncssh.SSHKeyPair):
    """An RSA key that signs with SHA-1, under the name that says so or the one that hides it."""

    _key_type = "sha1"

    def __init__(self, key: asyncssh.SSHKey, name: bytes) -> None:
        self._key = key
        super().__init__(name, name, (name,), (name,), key.public_data, None)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, b"ssh-rsa")


@pytest.mark.parametrize("name", [b"ssh-rsa", b"rsa-sha2-256"])
def test_signatures_with_sha1_are_none(door: Door, name: bytes) -> None:
    key = door.key("vera", "ssh-rsa")
    assert not door.may("vera", client_keys=[Sha1(key, name)], signature_algs=["ssh-rsa", "rsa-sha2-256"])


def test_the_user_cannot_be_changed_on_the_way(door: Door) -> None:
    """What one login has shown is worth nothing to another."""
    key = door.key("anna", needs_code=True)
    with _transport(door) as transport:
        assert transport.auth_publickey("anna", paramiko.Ed25519Key(filename=str(door.key_file(key))))
        shown = door.unused_code()
        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_interactive("vera", lambda title, text, asked: [shown] * len(asked))
        assert not transport.is_authenticated()


def test_too_many_failures_cut_the_connection(door: Door) -> None:
    with _transport(door) as transport:
        tries = 0
        with pytest.raises((paramiko.SSHException, EOFError)) as ended:
            for tries in range(40):  # noqa: B007
                try:
                    transport.auth_publickey("vera", paramiko.Ed25519Key(filename=str(door.key_file(_fresh()))))
                except paramiko.BadAuthenticationType:
                    raise
                except paramiko.AuthenticationException as error:
                    if not transport.is_active():
                        raise EOFError from error
        assert ended and 8 <= tries <= 12


def _fresh() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


def test_failures_are_counted_with_those_over_webdav(door: Door) -> None:
    """One throttle for all doors, by account and network: what was guessed here is not guessed again there."""
    door.world.installation.directory.set_password(door.world.people["nils"].id, PASSWORD)
    for guess in range(6):
        assert not door.may("nils", password=f"guess {guess}", preferred_auth="password")
    assert door.server.dav("nils", password=PASSWORD).propfind("/").status == 429
    assert not door.may("nils", password=PASSWORD, preferred_auth="password")
    assert door.may("nils", password=door.password("nils"))
    released(door, "nils")


def test_revocation_cuts_within_a_second(door: Door) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    identity = door.admit("vera", key.public_data)

    async def cut() -> float:
        async with door.connect("vera", client_keys=[key]) as connection, connection.start_sftp_client() as sftp:
            assert await sftp.listdir(".")
            door.world.installation.directory.revoke_device(identity)
            started = time.monotonic()
            await asyncio.wait_for(connection.wait_closed(), 20)
            return time.monotonic() - started

    assert asyncio.run(cut()) < 5  # a second, on a machine with nothing else to do


async def _refused_within(act: Any, seconds: float) -> float:
    """Return how long something goes on being done, from now on."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        try:
            await act()
        except (asyncssh.Error, OSError):
            return time.monotonic() - started
        await asyncio.sleep(0.02)
    raise AssertionError(f"it is still done after {seconds} s")


@pytest.mark.parametrize("what", ["a key", "a device password", "a person", "a right"])
def test_what_is_open_ends_too_when_something_is_taken_back(door: Door, what: str) -> None:
    """Documents open for reading and for writing, and new requests: each is refused within a second."""
    world, login = door.world, f"{what.replace(' ', '-')}-{next(_numbers)}"
    person = world.person(login, "Kund AB")
    granted = world.grant(login, SPACE[1:], Role.EDITOR)
    assert door.server.dav(login).put(f"{SPACE}/{login}.bin", b"x" * 100_000).status == 201
    key = asyncssh.generate_private_key("ssh-ed25519")
    identity = door.admit(login, key.public_data)
    options: dict[str, Any] = {"client_keys": [key]}
    if what == "a device password":
        options = {"password": door.password(login)}

    def take_back() -> None:
        directory = world.installation.directory
        if what == "a key":
            directory.revoke_device(identity)
        elif what == "a device password":
            directory.revoke_device(world.devices[login])
        elif what == "a person":
            directory.end_person(person.id)
        else:
            operator = world.installation.operator()
            world.installation.spaces.revoke(operator, world.spaces[SPACE[1:]].id, granted.id)

    async def play() -> dict[str, float]:
        async with door.connect(login, **options) as connection, connection.start_sftp_client() as sftp:
            reads = await sftp.open(f"{SPACE}/{login}.bin", "rb")
            writes = await sftp.open(f"{SPACE}/{login}.new", "wb")
            await writes.write(b"half")
            await reads.read(10, 0)
            await asyncio.to_thread(take_back)
            acts = {
                "read": lambda: reads.read(10, 0),
                "write": lambda: writes.write(b"more", 4),
                "list": lambda: sftp.listdir(SPACE),
                "open": lambda: sftp.open(f"{SPACE}/{login}.bin", "rb"),
            }
            taken = await asyncio.gather(*(_refused_within(act, 20) for act in acts.values()))
            return dict(zip(acts, taken, strict=True))

    taken = asyncio.run(play())
    print(what, {act: f"{seconds:.2f} s" for act, seconds in taken.items()})
    assert max(taken.values()) < 5  # a second, on a machine with nothing else to do
    assert door.server.dav("olle").get(f"{SPACE}/{login}.new").status == 404

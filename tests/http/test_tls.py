"""TLS of a running server: what can be agreed on, how connections end, and how a certificate takes another's place."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from config.logging import line
from server.http import tls
from tests.certificates import issue
from tests.handshakes import GROUPS, agreed, all_agreed, all_agreed_until_1_2, groups_agreed
from tests.http.fronts import Echo, Wire, ends_in_tls, front, heeding_ends, settings_with
from tests.serving import Served, serving
from tests.tools import need

SUITES_1_2 = {f"ECDHE-ECDSA-{rest}" for rest in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")}
SUITES_1_3 = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose certificate stands in files of ours, `tls.pem` and `tls.key` beside its data folder."""
    folder = tmp_path_factory.mktemp("served")
    made = tls.self_signed(folder / "first", "127.0.0.1")
    shutil.copy(made[0], folder / "tls.pem")
    shutil.copy(made[1], folder / "tls.key")
    files = {"http.tls_certificate_file": str(folder / "tls.pem"), "http.tls_key_file": str(folder / "tls.key")}
    with serving(folder / "data", **files) as found:
        yield found


def address_of(server: Served) -> tuple[str, int]:
    host, _, port = server.http_url.split("/")[2].partition(":")
    return host, int(port)


def target_of(server: Served) -> str:
    return server.http_url.split("/")[2]


def test_only_suites_with_forward_secrecy_and_authenticated_encryption_are_agreed_on(server: Served) -> None:
    # The certificate's key is of one kind, so the other kind's suites cannot be agreed on.
    assert all_agreed_until_1_2(target_of(server)) == SUITES_1_2
    offered = [*SUITES_1_3, "TLS_AES_128_CCM_SHA256"]
    assert all_agreed(target_of(server), offered, "-tls1_3", "-ciphersuites") == SUITES_1_3


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(server: Served, version: str) -> None:
    assert agreed(target_of(server), version, "-cipher", "ALL:@SECLEVEL=0") is None


def test_only_the_groups_that_mozilla_names_are_agreed_on(server: Served) -> None:
    assert groups_agreed(target_of(server)) == GROUPS


def test_a_renegotiation_is_refused(server: Served) -> None:
    command = [str(need("openssl")), "s_client", "-connect", target_of(server), "-tls1_2", "-quiet"]
    with subprocess.Popen(
        [*command, "-no_ign_eof"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        _, said = process.communicate(b"R\n", timeout=30)
    assert b"no renegotiation" in said.lower()


def shown_fingerprints(server: Served) -> set[str]:
    """Return the fingerprints that eight new connections are shown, so that each worker is met."""
    shown = set()
    for _ in range(8):
        pem = ssl.get_server_certificate(address_of(server), timeout=20)
        shown.add(tls.fingerprint(tls.Pair(pem, "")))
    return shown


def comes_to_be_shown(server: Served, fingerprint: str) -> bool:
    """Wait until every connection is shown this certificate."""
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        if shown_fingerprints(server) == {fingerprint}:
            return True
        time.sleep(0.1)
    return False


def has_both_workers(server: Served, without: int) -> bool:
    """Wait until another has taken the place of a worker that is gone."""
    limit = time.monotonic() + 30
    while without in (workers := server.workers()) or len(workers) < 2:
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


def _is_served(wire: Wire) -> bool:
    """Whether a connection still stands and is answered."""
    try:
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        return wire.answer()[0] == 200
    except OSError:
        return False


def test_a_certificate_takes_anothers_place_without_a_restart(server: Served, tmp_path: Path) -> None:
    folder = server.world.installation.folder.parent
    workers = server.workers()
    first = tls.fingerprint(tls.read(folder / "tls.pem", folder / "tls.key"))
    client = ssl.create_default_context(cafile=str(folder / "tls.pem"))
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(address_of(server), client)) for _ in range(24)]
        made = tls.self_signed(tmp_path / "second", "127.0.0.1")
        second = tls.fingerprint(tls.read(*made))
        shutil.copy(made[0], folder / "tls.pem")
        server.process.send_signal(signal.SIGHUP)  # a certificate without its key
        time.sleep(1)
        assert shown_fingerprints(server) == {first}
        server.kill(workers[0])  # who takes its place has the old one too, whatever stands in the files
        assert has_both_workers(server, without=workers[0])
        assert comes_to_be_shown(server, first)
        standing = [wire for wire in wires if _is_served(wire)]
        assert 0 < len(standing) < len(wires)  # the other worker's
        shutil.copy(made[1], folder / "tls.key")
        server.process.send_signal(signal.SIGHUP)
        assert comes_to_be_shown(server, second)
        assert [_is_served(wire) for wire in standing] == [True] * len(standing)
    assert first != second and len(server.workers()) == 2


@pytest.mark.parametrize("end", ["asked for", "refused", "idle"])
def test_a_connection_ends_with_a_close_notify(tmp_path: Path, end: str) -> None:
    made = tls.self_signed(tmp_path / "tls", "127.0.0.1")
    client = heeding_ends(made[0])
    requests = {"asked for": b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "refused": b"x\r\n\r\n"}
    with front(Echo(), settings_with(keep_alive_seconds_max=1), tls.context(tls.read(*made))) as address:
        with socket.create_connection(address, timeout=15) as plain:
            with client.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as sock:
                sock.sendall(requests.get(end, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
                assert ends_in_tls(sock)


def _key(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, passphrase: bytes = b"") -> bytes:
    kind = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kind)


REFUSED = {
    "nothing": (lambda chain, key: b"", None, "no_certificate"),
    "DER": (lambda chain, key: b"".join(map(der_of, chain.split(_END)[:-1])), None, "no_certificate"),
    "cut": (lambda chain, key: chain[:200], None, "no_certificate"),
    "trusted": (lambda chain, key: chain.replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE"), None, "no_certificate"),
    "chain with rubbish": (lambda chain, key: chain + pem_of(b"rubbish"), None, "no_certificate"),
    "no key": (None, lambda chain, key: b"", "no_key"),
    "certificate for a key": (None, lambda chain, key: chain, "no_key"),
    "another key": (None, lambda chain, key: _key(ec.generate_private_key(ec.SECP256R1())), "key_of_another"),
    "another kind of key": (None, lambda chain, key: _key(rsa.generate_private_key(65537, 2048)), "key_of_another"),
    "passphrase": (
        None, lambda chain, key: _key(ec.generate_private_key(ec.SECP256R1()), b"hemligt"), "key_has_passphrase"
    ),
}  # fmt: skip


_END = b"-----END CERTIFICATE-----"


def der_of(cut: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert((cut.strip() + _END).decode())


def pem_of(raw: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(raw).encode()


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_with_a_certificate_is_said(tmp_path: Path, name: str) -> None:
    issued = issue(tmp_path)
    chain, key = issued.chain.read_bytes(), issued.key.read_bytes()
    other_chain, other_key, cause = REFUSED[name]
    if other_chain is not None:
        issued.chain.write_bytes(other_chain(chain, key))
    if other_key is not None:
        issued.key.write_bytes(other_key(chain, key))
    with pytest.raises(tls.BadCertificate) as told:
        tls.read(issued.chain, issued.key)
    assert told.value.facts["cause"] == cause
    assert "OpenSSL" not in str(told.value)
    assert line("certificate_refused", {"why": told.value.facts["cause"]}).endswith(f"why={cause}")


def test_the_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    issued = issue(tmp_path)
    issued.key.unlink()
    with pytest.raises(tls.BadCertificate, match=r"privkey\.pem: No such file") as told:
        tls.read(issued.chain, issued.key)
    assert told.value.facts["cause"] == "ENOENT"


@pytest.mark.parametrize(
    "remark", ["friendlyName: Kafé Blåbär\n".encode(), "Kafé\n".encode("latin-1"), b"\xef\xbb\xbf"]
)
def test_remarks_in_any_coding_may_stand_beside_a_certificate(tmp_path: Path, remark: bytes) -> None:
    issued = issue(tmp_path)
    for path in (issued.chain, issued.key):
        path.write_bytes(remark + path.read_bytes())
    client = ssl.create_default_context(cafile=str(issued.authority))
    pair = tls.Pair(*json.loads(json.dumps(tls.read(issued.chain, issued.key))))  # as workers are handed it
    with front(Echo(), settings_with(), tls.context(pair)) as address, Wire(address, client) as wire:
        assert _is_served(wire)


def test_a_worker_that_cannot_take_a_certificate_makes_room_for_one_that_has_it(tmp_path: Path) -> None:
    issued = issue(tmp_path / "tls")
    files = {"http.tls_certificate_file": str(issued.chain), "http.tls_key_file": str(issued.key)}
    with serving(tmp_path / "data", **files, **{"http.workers": 1}) as server:
        (worker,) = server.workers()
        server.loses(worker)
        issue(tmp_path / "tls")
        second = tls.fingerprint(tls.read(issued.chain, issued.key))
        held = len(os.listdir(f"/proc/{worker}/fd"))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (held, held))  # as when strangers hold all there are
        server.process.send_signal(signal.SIGHUP)
        limit = time.monotonic() + 30
        while worker in server.workers() and time.monotonic() < limit:
            time.sleep(0.1)
        assert worker not in server.workers()
        assert comes_to_be_shown(server, second)


#: What a client sends before it falls silent; None: all of a handshake, and nothing after it.
UNSHAKEN = {"nothing": b"", "half a hello": b"\x16\x03\x01\x02\x00\x01\x00", "a handshake": None}


@pytest.mark.parametrize("name", UNSHAKEN)
def test_who_falls_silent_at_the_handshake_is_not_waited_for_any_longer_than_for_a_head(
    tmp_path: Path, name: str
) -> None:
    made = tls.self_signed(tmp_path / "tls", "127.0.0.1")
    client = ssl.create_default_context(cafile=str(made[0])) if UNSHAKEN[name] is None else None
    settings = settings_with(header_read_seconds_max=1)
    with front(Echo(), settings, tls.context(tls.read(*made))) as address, Wire(address, client) as wire:
        began = time.monotonic()
        wire.send(UNSHAKEN[name] or b"")
        assert wire.is_closed()
        assert 0.5 < time.monotonic() - began < 8


def test_nor_is_who_drips_a_handshake(tmp_path: Path) -> None:
    made = tls.self_signed(tmp_path / "tls", "127.0.0.1")
    settings = settings_with(header_read_seconds_max=1)
    with front(Echo(), settings, tls.context(tls.read(*made))) as address, Wire(address) as wire:
        wire.send(b"\x16\x03\x01\x20\x00\x01")
        assert 0.5 < wire.drip(0.15) < 5

"""Keys, checks and proofs: doctor, verify, key, audit; beside a running server too."""

from __future__ import annotations

import base64
import json
import os
import shlex
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NoReturn

import pytest

from auth.keyring import INSTALLATION, RootKey
from auth.keystore import FileKeystore
from config.errors import NotInitialised
from providers.installation import Installation
from server.cli import kit
from server.cli.errors import InputWrong, InUse, WrongPassphrase
from server.cli.holding import Hold
from tests.cli.shop import Shop, process, serving
from tests.growth import growth


def answer(url: str, login: str, password: str, method: str = "PROPFIND", body: bytes | None = None) -> int:
    """Return the status of a request."""
    token = base64.b64encode(f"{login}:{password}".encode()).decode()
    request = urllib.request.Request(url, body, {"Authorization": f"Basic {token}", "Depth": "0"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_nothing_told_which_settings_were_read(shop: Shop) -> None:
    assert "settings: no file has any" in shop.run("doctor").out
    beside = shop.data.with_name("data.toml")
    beside.write_text("[http]\nport = 0\n")
    assert f"settings: every one in {beside} can be used" in shop.run("doctor").out


def test_doctor_names_what_to_mend(shop: Shop) -> None:
    fit = shop.ok("doctor")
    states = {each["check"]: each["state"] for each in fit["checks"]}
    assert fit["fit"] is True
    assert states["root key"] == "look"  # on the same disk
    assert states["keystore"] == states["schema"] == states["clock"] == "good"
    shop.key.chmod(0o644)
    ran = shop.run("doctor")
    assert ran.code == 6
    assert f"The root key in {shop.key} can be read by others" in ran.out and "chmod 600" in ran.out
    shop.key.unlink()
    ran = shop.run("doctor")
    assert (ran.code, ran.out.count(" BAD")) == (6, 1), "one cause is one fault"


def test_doctor_sees_a_key_that_is_gone_from_the_keystore(shop: Shop) -> None:
    space = shop.ok("space", "create", "Ett")
    (shop.data / "keystore" / f"{space['id']}.key").unlink()
    ran = shop.run("doctor", "--json")
    assert ran.code == 6
    (bad,) = [each for each in ran.json["checks"] if each["state"] == "bad"]
    assert bad["check"] == "keystore" and space["id"] in bad["says"]


def stored(shop: Shop) -> str:
    """Let there be a space with a document; return the device password of `bo`, its editor."""
    shop.ok("person", "add", "bo", "Bo Alm")
    shop.ok("space", "create", "Ett")
    shop.ok("grant", "add", "Ett", "editor", "--person", "bo")
    return str(shop.ok("device", "add", "bo", "laptop")["device_password"])


def test_doctor_called_an_installation_fit_whose_packs_were_on_a_disk_not_mounted(shop: Shop) -> None:
    password = stored(shop)
    with serving("--data", shop.data, "serve", "--http-port", 0, "--sftp-port", 0, "--workers", 1) as (told, _):
        assert answer(f"{told['dav']}Ett/a.txt", "bo", password, "PUT", b"content") == 201
    assert shop.run("doctor").code == 0
    (shop.data / "vault").rename(shop.data / "elsewhere")
    ran = shop.run("doctor", "--json")
    assert ran.code == 6
    (bad,) = [each for each in ran.json["checks"] if each["state"] == "bad"]
    assert bad["check"] == "packs" and "1 of 1 spaces" in bad["says"]


@pytest.mark.parametrize(("part", "told"), [("keystore", "keystore"), ("catalogue.db", "database")])
def test_what_has_lost_a_part_was_told_to_run_init(shop: Shop, part: str, told: str) -> None:
    for path in shop.data.glob(f"{part}*"):
        path.rename(path.with_name(f"lost {path.name}"))
    ran = shop.run("space", "list")
    assert ran.code == 3 and f"is not whole: its {told} is missing" in ran.err
    assert shop.run("doctor").code == 6


@pytest.mark.parametrize("command", ["doctor", "verify", "backup", "serve", "upgrade"])
def test_a_damaged_database_was_something_unforeseen(shop: Shop, tmp_path: Path, command: str) -> None:
    catalogue = shop.data / "catalogue.db"
    catalogue.write_bytes(catalogue.read_bytes()[:8192])
    words = {"backup": [tmp_path / "copy"], "upgrade": ["--yes"]}.get(command, [])
    ran = shop.run(command, *words)
    assert ran.code == (6 if command == "doctor" else 5)
    assert "The database is damaged" in ran.out + ran.err


def test_the_command_line_works_beside_a_server(shop: Shop) -> None:
    password = stored(shop)
    with serving("--data", shop.data, "serve", "--http-port", "0", "--sftp-port", "0", "--workers", "2") as (
        told,
        running,
    ):
        assert answer(told["dav"], "bo", password) == 207
        assert answer(f"{told['dav']}Ett/a.txt", "bo", password, "PUT", b"hej") == 201
        second = shop.ok("device", "add", "bo", "other")
        assert answer(told["dav"], "bo", second["device_password"]) == 207
        shop.ok("device", "remove", second["id"])
        assert answer(told["dav"], "bo", second["device_password"]) == 401
        (grant,) = shop.ok("grant", "list", "Ett")
        shop.ok("grant", "remove", "Ett", grant["id"])
        assert answer(f"{told['dav']}Ett/a.txt", "bo", password, "GET") == 404
        rewrap = process("--data", shop.data, "key", "rewrap", "--yes")
        assert rewrap.code == 75
        assert "Stop it" in rewrap.err
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    assert shop.ok("verify") == {"whole": True, "findings": []}
    kinds = [each["event"]["kind"] for each in shop.ok("audit", "list", "--space", "Ett")]
    assert kinds[-2:] == ["add", "revoke"]


def test_serve_says_what_keeps_it_from_serving(shop: Shop) -> None:
    shop.key.unlink()
    ran = process("--data", shop.data, "serve", "--http-port", "0", "--sftp-port", "0")
    assert ran.code == 30
    assert str(shop.key) in ran.err


def test_a_flipped_byte_in_a_pack_is_found(shop: Shop) -> None:
    password = stored(shop)
    with serving("--data", shop.data, "serve", "--http-port", "0", "--sftp-port", "0", "--workers", "1") as (told, _):
        assert answer(f"{told['dav']}Ett/a.bin", "bo", password, "PUT", os.urandom(3000)) == 201
    packs = [each for each in (shop.data / "vault").rglob("*") if each.is_file() and each.stat().st_size > 2000]
    assert packs
    content = bytearray(packs[0].read_bytes())
    content[1500] ^= 1
    packs[0].write_bytes(content)
    ran = shop.run("verify", "--json")
    assert ran.code == 5
    assert not ran.json["whole"]
    assert any("version 1" in each["where"] for each in ran.json["findings"])


def test_a_root_key_comes_back_from_its_kit(shop: Shop, init: dict[str, Any], tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(init["passphrase"] + "\n")
    back = tmp_path / "back.key"
    ran = shop.ok("key", "recover", init["recovery_kit"], "--to", back, "--passphrase-file", passphrase)
    assert ran["root_id"] == init["root_id"] == shop.ok("key", "show")["root_id"]
    assert back.read_text() == shop.key.read_text()
    passphrase.write_text("not the passphrase it was\n")
    wrong = shop.run("key", "recover", init["recovery_kit"], "--to", tmp_path / "x", "--passphrase-file", passphrase)
    assert wrong.code == 65
    assert not (tmp_path / "x").exists()
    assert shop.run("key", "kit", init["recovery_kit"]).code == 73


def test_a_mistyped_line_of_a_kit_is_named(init: dict[str, Any]) -> None:
    text = Path(init["recovery_kit"]).read_text()
    lines = [number for number, line in enumerate(text.splitlines()) if line.strip().startswith("3.")]
    typed = text.splitlines()
    typed[lines[0]] = typed[lines[0]].replace(typed[lines[0]].split()[1], "AAAA")
    with pytest.raises(InputWrong, match="line 3"):
        kit.root_of("\n".join(typed), init["passphrase"], "kit")
    kit.root_of(text.lower(), f" {init['passphrase']}\n", "kit")  # case and white space are the typist's own
    with pytest.raises(WrongPassphrase):
        kit.root_of(text, "entirely another phrase", "kit")
    with pytest.raises(InputWrong, match="no recovery kit"):
        kit.root_of("nothing of the kind", init["passphrase"], "kit")


@pytest.mark.parametrize("repeated", ["\n", "2\n", "1. AAAA\n", " A", "2 ", "1. A = AAAA\n"])
def test_a_file_that_is_no_kit_was_refused_in_a_time_by_the_square_of_its_length(repeated: str) -> None:
    def work(count: int) -> None:
        with pytest.raises(InputWrong):
            kit.root_of("1. " + repeated * count, "x" * 20, "kit")

    assert growth(work, 1000, 500_000 // len(repeated)) < 3.2


def test_rewrapping_puts_a_new_root_key_in_place(shop: Shop) -> None:
    password = stored(shop)
    before, old_text = shop.ok("key", "show"), shop.key.read_text()
    done = shop.ok("key", "rewrap", "--yes")
    assert done["rewrapped"] == before["wraps"]
    assert done["root_id"] != before["root_id"]
    assert Path(done["old_file"]).read_text() == old_text
    assert shop.ok("key", "show")["root_id"] == done["root_id"]
    assert shop.ok("verify")["whole"]
    assert shop.run("device", "list").code == 0 and password
    shop.key.write_text(old_text)
    refused = shop.run("org", "list")
    assert refused.code == 30
    assert done["root_id"] in refused.err


@pytest.mark.parametrize("command", ["org list", "serve --http-port 0 --sftp-port 0"])
def test_a_command_read_the_root_key_before_it_held_the_folder(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Keys wrapped anew in between left it to wrap what it made with the old root: neither opened all."""

    def opened(*_: object, **__: object) -> NoReturn:
        with pytest.raises(InUse):
            Hold.alone(shop.data).close()
        raise NotInitialised(folder=shop.data)

    monkeypatch.setattr(Installation, "open", opened)
    assert shop.run(*command.split()).code == 3
    Hold.alone(shop.data).close()


def test_rewrapping_goes_on_where_it_was_cut_off(shop: Shop) -> None:
    stored(shop)
    fresh = shop.key.with_name("data.key.new")
    new, old = RootKey.create_file(fresh, data_folder=shop.data), RootKey.from_file(shop.key, data_folder=shop.data)
    keystore = FileKeystore(shop.data / "keystore")
    keystore.replace(INSTALLATION, new.wrap(INSTALLATION, old.unwrap(INSTALLATION, keystore.get(INSTALLATION))))
    assert shop.run("org", "list").code == 30  # half way, it opens under neither
    done = shop.ok("key", "rewrap", "--yes")
    assert done["rewrapped"] == len(keystore.list()) - 1
    assert shop.key.read_text().strip() == new.text()
    assert not fresh.exists()
    assert shop.ok("verify")["whole"]


def test_a_bundle_is_verified_without_the_installation(shop: Shop, tmp_path: Path) -> None:
    stored(shop)
    kept, bundle, public = tmp_path / "kept", tmp_path / "bundle", tmp_path / "public"
    kept.write_text(shop.ok("audit", "checkpoint", "--space", "Ett")["checkpoint"])
    shop.ok("grant", "add", "Ett", "viewer", "--person", "agnes")
    assert shop.ok("audit", "export", bundle, "--space", "Ett")["events"] > 2
    public.write_text(shop.ok("audit", "key")["public_key"])
    whole = process("audit", "verify", bundle, "--key", public, "--since", kept, "--json")
    assert (whole.code, whole.json["verdict"]) == (0, "whole")
    assert process("audit", "verify", bundle).code == 2  # nobody says whose signature it is
    lines = bundle.read_bytes().splitlines(keepends=True)
    changed = tmp_path / "changed"
    changed.write_bytes(b"".join(lines).replace(b'"grant"', b'"GRANT"', 1))
    assert process("audit", "verify", changed, "--key", public).code == 1
    short = tmp_path / "short"
    short.write_bytes(b"".join(lines[:-2]))
    assert process("audit", "verify", short, "--key", public).code == 2
    # An older bundle brings both: the key, and the checkpoint to go on from.
    newer = tmp_path / "newer"
    shop.ok("audit", "export", newer, "--space", "Ett")
    kept = newer.read_bytes()
    ran = shop.run("audit", "export", newer, "--space", "Ett")
    assert (ran.code, newer.read_bytes()) == (73, kept)
    assert shop.run("audit", "export", newer.parent / "none" / "b", "--space", "Ett").code == 73
    assert process("audit", "verify", newer, "--since", bundle).code == 0


@pytest.mark.parametrize(
    "line",
    [
        "5", "[]", "null", '"checkpoint"', '{"checkpoint":5}', '{"public_key":5}', "[" * 9000, '{"a":' * 9000,
        '{"public_key":"a/\\ud800+b+c"}', '{"checkpoint":"\\ud800\\n\\n\\u2014 \\ud800 AAAAAAAA\\n"}',
    ],
)  # fmt: skip
def test_a_bundle_of_somebody_elses_making_was_something_unforeseen(shop: Shop, tmp_path: Path, line: str) -> None:
    bundle, odd = tmp_path / "bundle", tmp_path / "odd"
    shop.ok("audit", "export", bundle)
    head = bundle.read_text(encoding="utf-8").split("\n", 1)[0]
    for text in (f"{line}\n", f"{head}\n{line}\n"):
        odd.write_text(text, encoding="utf-8")
        assert shop.run("audit", "verify", odd).code in (1, 2, 64)
        assert shop.run("audit", "verify", bundle, "--since", odd).code == 2
    assert shop.run("audit", "verify", bundle, "--key", "a/\udcff+b+c").code == 2


def test_a_party_gets_its_own_stream(shop: Shop, tmp_path: Path) -> None:
    shop.ok("org", "add", "Kund")
    shop.ok("space", "create", "Akten", "--customer", "Kund")
    shop.ok("grant", "add", "Akten", "viewer", "--org", "Kund")
    events = shop.ok("audit", "list", "--space", "Akten", "--party", "Kund")
    assert "grant" in [each["event"]["kind"] for each in events]
    assert shop.ok("audit", "export", tmp_path / "b", "--space", "Akten", "--party", "Kund")["events"] >= len(events)
    assert json.loads((tmp_path / "b").read_text().splitlines()[0])["mellanrum"] == "audit bundle"
    shop.ok("space", "create", "Annan")
    assert shop.run("audit", "list", "--space", "Annan", "--party", "Kund").code == 51


def test_upgrade_has_nothing_to_do(shop: Shop) -> None:
    assert shop.ok("upgrade", "--yes") == {"ran": []}


@pytest.mark.parametrize("place", ["nonexistent/bundle", ".", "file/bundle"])
def test_a_bundle_that_can_be_written_nowhere_was_something_unforeseen(shop: Shop, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    ran = shop.run("audit", "export", tmp_path / place)
    assert ran.code == 73, ran.err
    assert str(tmp_path / place) in ran.err
    assert ran.err.count("\n") == 1
    assert "exported" not in [each["event"]["kind"] for each in shop.ok("audit", "list")]


def test_the_command_that_an_export_suggested_never_found_it_whole(shop: Shop, tmp_path: Path) -> None:
    said = shop.run("audit", "export", tmp_path / "my bundle").out
    (command,) = [line.strip() for line in said.splitlines() if line.strip().startswith("mellanrum ")]
    ran = shop.run(*shlex.split(command)[1:])
    assert (ran.code, ran.out[:5]) == (0, "WHOLE")

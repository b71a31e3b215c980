"""Old bundles stay readable, and docs/FORMAT.md says enough to verify one without a line of ours."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from providers.audit.bundle import verify_bundle
from providers.audit.events import Projection
from providers.audit.leaf import Body, leaf
from tests.tools import ROOT

VECTOR = ROOT / "tests" / "audit" / "vectors" / "bundle-v1.jsonl"
PUBLIC = "1a79ff41c735d14d946b27772ad52680f6f7ec072a3ce77e4898967370fdb1d4"
BODY = (
    b'{"at":5,"facts":{"version":1},"is_supplier":false,"kind":"write","node":null,"organisation":"02","outcome":"done",'
    b'"party":"02","personal":{"actor.name":["000102030405060708090a0b0c0d0e0f","Berit \xc3\x96st"],"path":["'
    + b"ab" * 32
    + b'"]},"rows_digest":null,"space":null,"streams":[[2,7]],"v":1,"via":"sftp"}'
)


def test_a_bundle_of_the_first_form_verifies() -> None:
    outcome = verify_bundle(VECTOR, PUBLIC)
    assert (outcome.code, outcome.size) == (0, 8)


def test_a_body_of_the_first_form_gives_the_leaf_it_gave() -> None:
    body = Body.from_bytes(BODY)
    assert body.streams == ((2, 7),)
    assert body.to_bytes() == BODY
    made = leaf(body.event_json(Projection.PERSON), b"u" * 16, 7)
    assert hashlib.sha256(made).hexdigest() == "67b6b581b8f4d95f7966abddfe9e9f299565497ce1fd5e1afeba80fe0d57be2c"


def test_a_body_of_a_newer_form_is_not_taken_for_one_of_this() -> None:
    with pytest.raises(ValueError, match="version"):
        Body.from_bytes(BODY.replace(b'"v":1', b'"v":2'))


def root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\x01" + root(leaves[:half]) + root(leaves[half:])).digest()


def verify_by_the_document(path: Path, public: bytes) -> int:
    """Verify a bundle as docs/FORMAT.md tells to; return how many events it has."""
    head, *rest = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    notes, lines, end = rest[: head["checkpoints"]], rest[head["checkpoints"] : -1], rest[-1]
    hashes = []
    for number, line in enumerate(lines):
        assert line["leaf"]["log"] == head["origin"].split("/")[2]
        assert line["leaf"]["number"] == number
        for name, (salt, value) in line["openings"].items():
            opened = hashlib.sha256(bytes.fromhex(salt) + name.encode() + b"\0" + value.encode()).hexdigest()
            assert line["leaf"]["event"]["commitments"][name] == opened
        text = json.dumps(line["leaf"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        hashes.append(hashlib.sha256(b"\0" + text.encode()).digest())
    for note in notes:
        text, _, signature = note["checkpoint"].partition("\n\n")
        _, name, encoded = signature.split(" ")
        raw = base64.b64decode(encoded)
        assert raw[:4] == hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]
        Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], text.encode() + b"\n")
        origin, size, top = text.split("\n")
        assert origin == name == head["origin"]
        assert base64.b64decode(top) == root(hashes[: int(size)])
    assert int(size) == head["size"] == len(lines) == end["end"]
    return len(lines)


def test_the_document_is_enough_to_verify_a_bundle() -> None:
    assert verify_by_the_document(VECTOR, bytes.fromhex(PUBLIC)) == 8

"""Sowing: known strings wherever a person can type or upload one, through every way in that there is so far."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from auth.roles import GranteeKind, Role
from providers.paths import ROOT
from tests.proofs.at_rest_search import Secret
from tests.serving import Dav, Served
from tests.worlds import World


@dataclass
class Field:
    """What was sown: label to string. No two strings share a word, and no word is anybody else's."""

    needles: dict[str, str | bytes] = field(default_factory=dict)

    def word(self, label: str) -> str:
        """Return a fresh word to type, small letters and great ones, some of them beyond ASCII."""
        made = "Åq" + hashlib.sha256(label.encode()).hexdigest()[:10].translate(_LETTERS) + "Éz"
        self.needles[label] = made
        return made

    def secret(self, label: str, text: str) -> str:
        """Take in a secret that the house made."""
        self.needles[label] = Secret(text)
        return text


_LETTERS = str.maketrans("0123456789abcdef", "ghijklmnopGHIJKL")
#: Beyond one chunk, so that some of it lies in the middle.
COMPRESSIBLE_LINES = 4000
INCOMPRESSIBLE_BYTES = 120_000


def compressible(sown: Field) -> bytes:
    """Return a content that packs well, with a known line all over."""
    return (sown.word("content that packs") + " som sades i förtroende\n").encode() * COMPRESSIBLE_LINES


def incompressible(sown: Field) -> bytes:
    """Return a content that packs not at all, of which known pieces lie at its beginning, middle and end."""
    made = hashlib.shake_256(b"a content that packs not at all").digest(INCOMPRESSIBLE_BYTES)
    for label, at in (("begin", 0), ("middle", 61_000), ("end", INCOMPRESSIBLE_BYTES - 24)):
        sown.needles[f"content that packs not, {label}"] = made[at : at + 24]
    return made


def sow_people(world: World, sown: Field) -> None:
    """Organisations, people, a group, devices, secrets, a space, folders from a template, grants."""
    directory = world.installation.directory
    customer = directory.add_organisation(sown.word("organisation")).id
    world.organisations["customer"] = customer
    login, mail = sown.word("login"), sown.word("mail") + "@example.org"
    sown.needles["mail"] = mail
    made = directory.add_person(customer, login, sown.word("person"), mail=mail, administrator=True)
    device, password = directory.add_device(made.id, sown.word("device label"))
    world.people["eva"], world.passwords["eva"], world.devices["eva"] = made, password, device.id
    directory.set_password(made.id, sown.word("password") + " och lite till")
    sown.secret("totp secret", directory.enrol_totp(made.id))
    for number, code in enumerate(directory.new_recovery_codes(made.id)):
        sown.secret(f"recovery code {number}", code)
    group = directory.add_group(sown.word("group"))
    directory.add_member(group.id, made.id)
    sown.secret("device password", password)
    sown.needles["login"] = login
    space = world.space(sown.word("space"), None, (f"/{sown.word('template folder')}",))
    world.spaces["own"] = space
    operator, spaces = world.installation.operator(), world.installation.spaces
    sown.needles["operator"] = operator.login
    for grantee, kind in ((made.id, GranteeKind.PERSON), (group.id, GranteeKind.GROUP)):
        spaces.grant(operator, space.id, ROOT, grantee, kind, Role.EDITOR, history=True)
    gone = directory.add_person(customer, sown.word("login that ended"), sown.word("person who left"))
    directory.add_device(gone.id, sown.word("device that ended"))
    directory.end_person(gone.id)
    world.installation.erasures.request_space(operator, space.id, sown.word("reason of an erasure"))


def sow_over_webdav(client: Dav, sown: Field) -> None:
    """Documents, folders, moves, deletes, locks, properties, refused acts, probes, a range, an upload cut off."""
    space = "/" + str(sown.needles["space"])
    folder = f"{space}/{sown.word('folder')}"
    first, second = f"{folder}/{sown.word('document')}.txt", f"{folder}/{sown.word('other document')}.bin"
    done = [
        client.request("MKCOL", folder),
        client.put(first, compressible(sown)),
        client.put(second, incompressible(sown)),
        client.put(first, compressible(sown) + sown.word("content of a second version").encode()),
        client.get(first),
        client.get(second, Range="bytes=10-90"),
        client.lock(first, owner=sown.word("lock owner")),
        client.lock(f"{folder}/{sown.word('name that is locked only')}", owner=sown.word("other lock owner")),
        client.proppatch(
            second,
            f'<D:set><D:prop><x:{sown.word("property name")} xmlns:x="urn:{sown.word("property namespace")}">'
            f"{sown.word('property value')}</x:{sown.needles['property name']}></D:prop></D:set>",
        ),
        client.request("MOVE", second, Destination=client.origin + client.href(f"{folder}/{sown.word('moved')}.bin")),
        client.put(f"{folder}/{sown.word('deleted document')}", sown.word("content that was deleted").encode()),
        client.request("DELETE", f"{folder}/{sown.needles['deleted document']}"),
        client.propfind(space, depth="1"),
    ]
    assert [reply.status for reply in done if reply.status >= 400] == []
    goal = sown.word("goal that is refused")
    refused = [
        client.put(first, sown.word("content that was refused").encode()),
        client.get(f"{space}/{sown.word('name that never stood')}"),
        client.request("MOVE", first, Destination=client.origin + client.href(f"{space}/{goal}/a")),
        client.get("/" + sown.word("space that never stood")),
        client.request(sown.word("method").encode("ascii", "ignore").decode().upper(), space),
        client.propfind(space, f"<broken>{sown.word('broken body')}"),
        client.request("GET", space, X_Header=sown.word("header").encode("ascii", "ignore").decode()),
    ]
    assert [reply.status for reply in refused[:-1] if reply.status < 400] == []
    client.close()


def sow_sign_ins(server: Served, sown: Field) -> None:
    """Sign in with names and passwords that are wrong."""
    wrong = server.dav(sown.word("login that never was"), password=sown.word("password that never was"))
    assert wrong.get("/").status == 401
    wrong = server.dav(str(sown.needles["login"]), password=sown.word("wrong password"))
    assert wrong.get("/").status in (401, 429)

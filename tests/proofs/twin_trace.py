"""What the buyer does in both worlds: a day's work, and every way of asking after what is another's."""

from __future__ import annotations

from urllib.parse import quote

from tests.proofs.twin_worlds import RIVAL, Foreign, Twin, header, lock_body

ALL = b'<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>'
NAMES = b'<D:propfind xmlns:D="DAV:"><D:propname/></D:propfind>'
QUOTA = (
    b'<D:propfind xmlns:D="DAV:"><D:prop><D:quota-used-bytes/><D:quota-available-bytes/><D:lockdiscovery/>'
    b"<D:getetag/><D:displayname/><D:getlastmodified/></D:prop></D:propfind>"
)
PATCH = (
    b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x:skick xmlns:x="urn:test">gott</x:skick></D:prop></D:set>'
    b"</D:propertyupdate>"
)
ORIGIN = "http://files.example/dav"


def look(twin: Twin) -> None:
    """Look at everything that is seen, in every way there is to look."""
    for path in ("/", "/Objektet/", "/Objektet/Bud/", "/Objektet/Underlag/", "/Rum/"):
        for body in (ALL, QUOTA):
            twin.ask("PROPFIND", path, body, Depth="1")
    twin.ask("PROPFIND", "/Objektet/Bud/", NAMES, Depth="1")
    twin.ask("PROPFIND", "/Objektet/", None, Depth="infinity")
    for path in ("/.history/", "/Rum/.history/", "/Objektet/.history/"):
        twin.ask("PROPFIND", path, None, Depth="1")


def bid(twin: Twin) -> None:
    """Bid, in a folder where the rival bids too, under the same name."""
    name = "/Objektet/Bud/Bud.pdf"
    twin.ask("PUT", name, b"fem miljoner")
    twin.ask("PROPFIND", "/Objektet/Bud/", QUOTA, Depth="1")
    twin.ask("PUT", name, b"fem miljoner och ett")
    twin.ask("GET", name)
    etag = header(twin.ask("HEAD", name), "ETag")
    twin.ask("GET", name, None, If_None_Match=etag)
    twin.ask("LOCK", name, lock_body("Bo Lund"))
    twin.ask("PROPFIND", name, QUOTA, Depth="0")
    twin.ask("PUT", "/Objektet/Bud/Rivalens bud.pdf", b"a name that the rival has", If_None_Match="*")
    twin.ask("PUT", "/Objektet/Bud/låst.docx", b"a name that the rival locked")
    twin.ask("LOCK", "/Objektet/Bud/utkast 7.docx", lock_body("Bo Lund"))
    twin.ask("MOVE", name, None, Destination=f"{ORIGIN}/Objektet/Bud/Ny.pdf")
    twin.ask("COPY", "/Objektet/Underlag/%C3%85.pdf", None, Destination=f"{ORIGIN}/Objektet/Bud/kopia.pdf")
    underlag = "/Objektet/Underlag/Årsredovisning.pdf"
    twin.ask("GET", underlag, None, Range="bytes=0-9,20-29")
    twin.ask("COPY", underlag, None, Destination=f"{ORIGIN}/Rum/underlag.pdf")
    twin.ask("DELETE", "/Objektet/Bud/")
    twin.ask("LOCK", "/Objektet/Bud/", lock_body("Bo Lund"))
    twin.ask("PUT", "/Objektet/Underlag/otillåtet.txt", b"nej")
    twin.ask("PROPPATCH", "/Objektet/Bud/", PATCH)


def work(twin: Twin, foreign: Foreign) -> None:
    """Work in one's own room: locks, saves, moves, properties, the trash."""
    name = "/Rum/plan.docx"
    token = header(twin.ask("LOCK", name, lock_body("Bo Lund")), "Lock-Token")
    twin.ask("PUT", name, b"utan nyckel")
    twin.ask("PUT", name, b"med rivalens nyckel", If=f"(<{foreign.token}>)")
    twin.ask("PUT", name, b"version ett" * 9000, If=f"({token})")
    twin.ask("UNLOCK", name, None, Lock_Token=f"<{foreign.token}>")
    twin.ask("UNLOCK", name, None, Lock_Token=token)
    twin.ask("PUT", name, b"version tre", If_Match=foreign.etag)
    twin.ask("PUT", name, b"version tre")
    twin.ask("MKCOL", "/Rum/Arkiv")
    twin.ask("COPY", name, None, Destination=f"{ORIGIN}/Rum/Arkiv/kopia.docx")
    twin.ask("MOVE", name, None, Destination=f"{ORIGIN}/Rum/Arkiv/plan.docx")
    twin.ask("PROPPATCH", "/Rum/Arkiv/plan.docx", PATCH)
    twin.ask("PROPFIND", "/Rum/Arkiv/", ALL, Depth="1")
    twin.ask("MOVE", "/Rum/Arkiv/", None, Destination=f"{ORIGIN}/Rum/Gammalt/")
    twin.ask("DELETE", "/Rum/Gammalt/kopia.docx")
    twin.ask("PUT", "/Rum/stor.bin", bytes(range(256)) * 1200)
    twin.ask("PROPFIND", "/Rum/", QUOTA, Depth="1")


#: Probes of a name: method, body, headers.
PROBES: list[tuple[str, bytes | None, dict[str, str]]] = [
    ("GET", None, {}),
    ("HEAD", None, {}),
    ("PROPFIND", ALL, {"Depth": "0"}),
    ("PROPPATCH", PATCH, {}),
    ("DELETE", None, {}),
    ("MOVE", None, {"Destination": f"{ORIGIN}/Rum/taget"}),
    ("COPY", None, {"Destination": f"{ORIGIN}/Rum/taget"}),
    ("UNLOCK", None, {"Lock_Token": "<urn:uuid:6b6b6b6b-0000-4000-8000-000000000000>"}),
]
#: Probes that would make something where the name is free, so they are sent only where one may not.
MAKERS: list[tuple[str, bytes | None, dict[str, str]]] = [
    ("PUT", b"hej", {}),
    ("MKCOL", None, {}),
    ("LOCK", lock_body("Bo Lund"), {}),
]


#: What names the answers to probes, which come in pairs.
PAIRS = "pair "
NEVER = "0" * 31 + "1"
NEVER_TOKEN = "urn:uuid:6b6b6b6b-0000-4000-8000-000000000000"


def probe(twin: Twin, foreign: Foreign) -> None:
    """Ask after what is the rival's, each time followed by what never was."""
    pairs = [
        (f"/Objektet/Bud/Bud ({RIVAL}).pdf", "/Objektet/Bud/Bud (Köpare Tre AB).pdf", PROBES),
        ("/Objektet/Bud/halv 1.bin", "/Objektet/Bud/halv 0.bin", PROBES),
        (f"/~{foreign.space}/Hemligt/", f"/~{NEVER}/Hemligt/", PROBES),
        (f"/~{foreign.space}", f"/~{NEVER}", [*PROBES, *MAKERS]),
        (f"/~{foreign.space}/Hemligt/ny.txt", f"/~{NEVER}/Hemligt/ny.txt", MAKERS),
        ("/Rum (2)/", "/Rum (3)/", PROBES),
        ("/Rum (2)/ny.txt", "/Rum (3)/ny.txt", MAKERS),
    ]
    for hidden, absent, probes in pairs:
        for method, body, headers in probes:
            twin.ask(method, hidden, body, PAIRS, **headers)
            twin.ask(method, absent, body, PAIRS, **headers)
    for token in (foreign.token, NEVER_TOKEN):
        twin.ask("PUT", "/Rum/stor.bin", b"x", PAIRS, If=f"(<{token}>)")
    for token in (foreign.token, NEVER_TOKEN):
        twin.ask("UNLOCK", "/Rum/stor.bin", None, PAIRS, Lock_Token=f"<{token}>")
    for etag in (foreign.etag, '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"'):
        twin.ask("DELETE", "/Rum/stor.bin", None, PAIRS, If_Match=etag)
    for root in (foreign.space, NEVER):
        twin.ask("MOVE", "/Rum/stor.bin", None, PAIRS, Destination=f"{ORIGIN}/~{root}/stulen.bin")
    for name in (f"Rum ({quote(RIVAL)})", f"Rum ({quote('Köpare Tre AB')})"):
        twin.ask("COPY", "/Rum/stor.bin", None, PAIRS, Destination=f"{ORIGIN}/{quote(name)}/stulen.bin")


def day(twin: Twin, foreign: Foreign) -> None:
    """Live through the buyer's day."""
    twin.ask("OPTIONS", "/")
    look(twin)
    bid(twin)
    work(twin, foreign)
    probe(twin, foreign)
    look(twin)


def glimpse(twin: Twin, foreign: Foreign) -> None:
    """Do as little as shows every planted leak."""
    for path in ("/", "/Objektet/", "/Objektet/Bud/", "/Rum/"):
        twin.ask("PROPFIND", path, QUOTA, Depth="1")
    twin.ask("PUT", "/Objektet/Bud/Bud.pdf", b"fem miljoner")
    twin.ask("PROPFIND", "/Objektet/Bud/Bud.pdf", QUOTA, Depth="0")
    twin.ask("PROPFIND", "/Objektet/Bud/", ALL, Depth="1")
    twin.ask("GET", "/Objektet/Bud/Rivalens bud.pdf")
    twin.ask("GET", f"/~{foreign.space}/")
    twin.ask("UNLOCK", "/Objektet/Bud/Bud.pdf", None, Lock_Token=f"<{foreign.token}>")

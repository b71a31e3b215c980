"""Who and what there is in the demo: a table of organisations, people, spaces and documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from auth.roles import Role

SUPPLIER = "Lindqvist Redovisning AB"
HOUSING = "Brf Solbacken 4"
MEMBERS = 80
#: What the logins of its members begin with.
MEMBER = "lgh"
STAFF = "Lindqvist, medarbetare"

_FIRST = (
    *("Åsa", "Björn", "Cecilia", "Daniel", "Elif", "Fredrik", "Göran", "Hanna", "Ingrid", "Jörgen", "Karin", "Lars"),
    *("Märta", "Nils", "Örjan", "Pia", "Quang", "Rasmus", "Siri", "Tomasz", "Ulla", "Väinö", "Wilma", "Xiaoming"),
    *("Yasmin", "Zoë", "Ängla", "Östen", "Amélie", "José", "Mikołaj", "Søren", "Þóra", "Ludmila", "Anaïs", "Noor"),
)
_LAST = (
    *("Åberg", "Bäckström", "Cederlöf", "Dahl", "Ekström", "Forsén", "Grönwall", "Hägg", "Isaksson", "Jönsson"),
    *("Kovačević", "Lindström", "Mäkinen", "Nordin", "Öberg", "Palm", "Qvist", "Rönnlund", "Sjögren", "Törnqvist"),
    *("Nguyễn", "Wåhlin", "Yıldız", "Zetterlund", "Ängström", "Östlund", "García", "Łukasik", "Sørensen", "Haddad"),
)


@dataclass(frozen=True)
class Someone:
    """A person of the demo. `role` is what they are to their organisation, for the reader."""

    login: str
    name: str
    organisation: str
    what: str
    administrator: bool = False


@dataclass(frozen=True)
class Let:
    """Who is let in: logins, an organisation's name, or the supplier's staff (their group)."""

    role: Role
    person: str = ""
    organisation: str = ""
    staff: bool = False
    path: str = "/"
    history: bool = True


@dataclass(frozen=True)
class Room:
    """A space of the demo."""

    name: str
    customer: str | None
    folders: tuple[str, ...]
    lets: tuple[Let, ...]
    private_below: str = ""


_STAFF_EDITS = Let(Role.EDITOR, staff=True)
_ACCOUNTS = ("Underlag/2026/10 oktober", "Underlag/2026/11 november", "Rapporter/2026", "Avtal")

PEOPLE: tuple[Someone, ...] = (
    Someone("helena", "Helena Lindqvist", SUPPLIER, "runs the firm, and administers it all", administrator=True),
    Someone("oskar", "Oskar Sjöö", SUPPLIER, "keeps the books of all customers"),
    Someone("priya", "Priya Raman", SUPPLIER, "brokers the sale of Norrsken Mekaniska"),
    Someone("gunnar", "Gunnar Ström", "Ströms Bageri AB", "customer, with two bakeries", administrator=True),
    Someone("li", "李 小龍 (Bruno)", "Kafé Blåbär HB", "customer, with a café"),
    Someone("maeve", "Maeve Ó Súilleabháin", "Atelier Ærlig", "customer, makes kitchens"),
    Someone("stefan", "Stefan Norrsken", "Norrsken Mekaniska AB", "sells the company"),
    Someone("alba", "Alba Ferrer", "Ferrer Capital", "would buy Norrsken, and knows of no other buyer"),
    Someone("kenji", "Kenji Watanabe", "Watanabe Industri", "would buy Norrsken, and knows of no other buyer"),
    Someone("birgitta", "Birgitta Öhman", HOUSING, "chairs the board of the housing association", administrator=True),
)

ROOMS: tuple[Room, ...] = (
    Room("Sandbox", None, (), (Let(Role.EDITOR, person="oskar"), Let(Role.VIEWER, person="gunnar"))),
    Room(
        "Bokföring",
        "Ströms Bageri AB",
        _ACCOUNTS,
        (
            _STAFF_EDITS,
            Let(Role.VIEWER, organisation="Ströms Bageri AB"),
            Let(Role.UPLOADER, organisation="Ströms Bageri AB", path="/Underlag", history=False),
        ),
    ),
    Room("Bokföring", "Kafé Blåbär HB", _ACCOUNTS, (_STAFF_EDITS, Let(Role.VIEWER, organisation="Kafé Blåbär HB"))),
    Room(
        "Kök Östermalm 🍳",
        "Atelier Ærlig",
        ("Ritningar", "Offerter", "Bilder"),
        (Let(Role.EDITOR, organisation="Atelier Ærlig"), Let(Role.VIEWER, staff=True)),
    ),
    Room(
        "Projekt Norrsken – gemensamt",
        None,
        ("01 Bolaget", "02 Ekonomi", "03 Avtal", "04 Personal"),
        (
            Let(Role.MANAGER, person="priya"),
            Let(Role.VIEWER, person="stefan"),
            Let(Role.VIEWER, organisation="Ferrer Capital", history=False),
            Let(Role.VIEWER, organisation="Watanabe Industri", history=False),
        ),
    ),
    Room(
        "Projekt Norrsken",
        "Ferrer Capital",
        ("Frågor och svar", "Bud"),
        (Let(Role.MANAGER, person="priya"), Let(Role.CONTRIBUTOR, organisation="Ferrer Capital", history=False)),
    ),
    Room(
        "Projekt Norrsken",
        "Watanabe Industri",
        ("Frågor och svar", "Bud"),
        (Let(Role.MANAGER, person="priya"), Let(Role.CONTRIBUTOR, organisation="Watanabe Industri", history=False)),
    ),
    Room(
        "Föreningen",
        HOUSING,
        ("Stämma 2026", "Styrelsen", "Medlemmar", "Stadgar"),
        (
            Let(Role.MANAGER, person="birgitta"),
            Let(Role.VIEWER, organisation=HOUSING),
            Let(Role.EDITOR, staff=True, path="/Styrelsen"),
        ),
        private_below="/Medlemmar",
    ),
)


def members() -> Iterator[Someone]:
    """Yield the members of the housing association, the same each time, no two of one name."""
    seen = set()
    for number in range(1, MEMBERS + 1):
        place = number * 7
        name = f"{_FIRST[place % len(_FIRST)]} {_LAST[(place // 3 + number) % len(_LAST)]}"
        if name in seen:
            name += f" {number}"
        seen.add(name)
        yield Someone(f"{MEMBER}{number:02}", name, HOUSING, f"lives in apartment {number}")


def organisations() -> list[str]:
    """Return the customers, each once, in the order of their people."""
    return list(dict.fromkeys(someone.organisation for someone in PEOPLE if someone.organisation != SUPPLIER))

"""The documents of the demo: where each stands, who stored it, and its versions, oldest first."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from server.demo import forms, world

SEED = 20261124
_MONTHS = ("10 oktober", "11 november")
_SUPPLIERS = ("Kungsörnens Kvarn", "Mjölkbonden i Hallsta", "Åkes El & Kyl", "Tvätt 24", "Süßwaren Müller GmbH")


@dataclass(frozen=True)
class Paper:
    """One document: space (customer, name), path in it, who stores it, versions."""

    customer: str | None
    room: str
    path: str
    by: str
    versions: tuple[bytes, ...]


def papers() -> Iterator[Paper]:
    """Yield every document."""
    for place, customer in enumerate(("Ströms Bageri AB", "Kafé Blåbär HB")):
        yield from _accounts(customer, random.Random(SEED + place))  # noqa: S311  (the same books each time)
    yield from _kitchen()
    yield from _deal()
    yield from _housing()


def _accounts(customer: str, dice: random.Random) -> Iterator[Paper]:
    for month in _MONTHS:
        rows: list[tuple[object, ...]] = [("Datum", "Verifikat", "Konto", "Text", "Belopp")]
        for number in range(1, 41):
            amount = dice.randrange(9_000, 900_000) / 100
            day = f"2026-{month[:2]}-{dice.randrange(1, 29):02}"
            rows.append((day, f"A{number}", dice.choice((4010, 5460, 6110, 7010)), dice.choice(_SUPPLIERS), amount))
        ledger = (forms.table(rows[:20]), forms.table(rows[:33]), forms.table(rows))
        yield Paper(customer, "Bokföring", f"/Underlag/2026/{month}/Verifikationslista.csv", "oskar", ledger)
        for _ in range(3):
            sender = dice.choice(_SUPPLIERS)
            lines = [
                f"Från: {sender}",
                f"Till: {customer}",
                "",
                f"Att betala: {dice.randrange(400, 9000)} kr",
                "Tack! 🧾",
            ]
            name = f"Faktura {dice.randrange(1000, 9999)} {sender.split()[0]}.pdf"
            yield Paper(
                customer, "Bokföring", f"/Underlag/2026/{month}/{name}", "oskar", (forms.pdf("Faktura", lines),)
            )
    report = [
        forms.document(f"Månadsrapport {customer}", [f"Utkast {number}.", "Omsättningen följer plan.", extra])
        for number, extra in enumerate(("Lagret är inte räknat.", "Lagret är räknat.", "Godkänd av Helena."), 1)
    ]
    yield Paper(customer, "Bokföring", "/Rapporter/2026/Månadsrapport oktober.docx", "oskar", tuple(report))
    totals = [("Konto", "Oktober", "November"), *((k, dice.randrange(10**5), dice.randrange(10**5)) for k in range(10))]
    yield Paper(customer, "Bokföring", "/Rapporter/2026/Resultat.xlsx", "oskar", (forms.sheet("Resultat", totals),))
    deal = ["Uppdragsavtal mellan parterna.", "Uppsägningstid: tre månader.", "Arvode enligt löpande räkning."]
    yield Paper(customer, "Bokföring", "/Avtal/Uppdragsavtal.pdf", "helena", (forms.pdf("Uppdragsavtal", deal),))


def _kitchen() -> Iterator[Paper]:
    room, customer = "Kök Östermalm 🍳", "Atelier Ærlig"
    for name, changes in (("Plan köksö", 3), ("Elevation vägg A", 2), ("Snitt över spis", 1)):
        drawn = tuple(
            forms.pdf(
                f"{name}, rev {'ABC'[number]}", [f"Skala 1:20. Mått i mm. Revision {'ABC'[number]}."] * (number + 1)
            )
            for number in range(changes)
        )
        yield Paper(customer, room, f"/Ritningar/{name}.pdf", "maeve", drawn)
    quotes = [
        forms.sheet(
            "Offert", [("Del", "Pris"), ("Stommar", 48_000), ("Bänkskiva i kalksten", price), ("Montage", 22_500)]
        )
        for price in (39_000, 36_500)
    ]
    yield Paper(customer, room, "/Offerter/Offert 2026-118.xlsx", "maeve", tuple(quotes))
    notes = forms.text(["Ljus ek? Oljad, inte lackad.", "Kundens önskan: «ingen fläkt i taket».", "日本のヒノキも可。"])
    yield Paper(customer, room, "/Bilder/Anteckningar från besöket ✏️.txt", "maeve", (notes,))


def _deal() -> Iterator[Paper]:
    room = "Projekt Norrsken – gemensamt"
    for path, title, lines in (
        ("/01 Bolaget/Registreringsbevis.pdf", "Registreringsbevis", ["Norrsken Mekaniska AB, 556000-0000, Luleå"]),
        ("/01 Bolaget/Presentation.pdf", "Norrsken Mekaniska", ["42 anställda.", "Svarvning och fräsning sedan 1974."]),
        ("/03 Avtal/Hyresavtal verkstad.pdf", "Hyresavtal", ["Löper till 2031-09-30.", "Hyra: 92 000 kr i månaden."]),
        ("/04 Personal/Organisation.pdf", "Organisation", ["VD", "Verkstadschef", "Ekonomi", "38 i produktion"]),
    ):
        yield Paper(None, room, path, "priya", (forms.pdf(title, lines),))
    years = [("År", "Omsättning", "Resultat"), (2023, 61_200, 4_100), (2024, 66_900, 5_300), (2025, 71_400, 6_050)]
    figures = (forms.sheet("Nyckeltal", years[:3]), forms.sheet("Nyckeltal", years))
    yield Paper(None, room, "/02 Ekonomi/Nyckeltal (tkr).xlsx", "priya", figures)
    for customer, by, offer in (("Ferrer Capital", "alba", 84), ("Watanabe Industri", "kenji", 91)):
        letter = forms.document("Indikativt bud", [f"{customer} offers SEK {offer} million, cash and debt free."])
        yield Paper(customer, "Projekt Norrsken", "/Bud/Bid.docx", by, (letter,))
        answers = (
            forms.text(["1. Who owns the drawings?", "   –"]),
            forms.text(["1. Who owns the drawings?", "   The company does, all of them."]),
        )
        yield Paper(customer, "Projekt Norrsken", "/Frågor och svar/Q&A.txt", "priya", answers)


def _housing() -> Iterator[Paper]:
    room, customer = "Föreningen", world.HOUSING
    call = ["Tid: 15 december 2026 kl. 18.30", "Plats: tvättstugan", "Fika från kl. 18 ☕"]
    drafts = tuple(forms.document("Kallelse till föreningsstämma", call[:count]) for count in (1, 2, 3))
    yield Paper(customer, room, "/Stämma 2026/Kallelse.docx", "birgitta", drafts)
    rules = [f"§ {number}. Stadgarna gäller alla medlemmar." for number in range(1, 60)]
    yield Paper(customer, room, "/Stadgar/Stadgar 2019.pdf", "birgitta", (forms.pdf("Stadgar", rules),))
    minutes = forms.text(["Protokoll, styrelsemöte nr 9", "Närvarande: Birgitta, Åsa, Tomasz", "Taket tätas i april."])
    yield Paper(customer, room, "/Styrelsen/Protokoll 9.txt", "birgitta", (minutes,))
    for someone in world.members():
        fee = forms.text([f"Till {someone.name}", "Avgift november 2026: 4 310 kr", "Bankgiro 5050-1055"])
        yield Paper(customer, room, f"/Medlemmar/{someone.name}/Avi november.txt", someone.login, (fee,))

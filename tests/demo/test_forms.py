"""The demo's files are what their names say, and the same each time."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ElementTree
import zipfile
import zlib

import pytest

from server.demo import forms, papers, world


def test_a_pdf_leads_from_its_end_to_every_object() -> None:
    made = forms.pdf("Räkning (nr 7)", [f"Rad {number} \\ å" for number in range(100)])
    start = int(made.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    assert made[start:].startswith(b"xref\n")
    places = [int(place) for place in re.findall(rb"^(\d{10}) 00000 n ", made[start:], re.MULTILINE)]
    for number, place in enumerate(places, 1):
        assert made[place:].startswith(b"%d 0 obj\n" % number)
    assert made.count(b"/Type /Page ") == 3
    streams = re.findall(rb"/Length (\d+) .*?stream\n", made, re.DOTALL)
    first = made.index(b"stream\n") + len(b"stream\n")
    drawn = zlib.decompress(made[first : first + int(streams[0])])
    assert b"R\xe4kning \\(nr 7\\)" in drawn
    assert b"Rad 1 \\\\ \xe5" in drawn


@pytest.mark.parametrize(
    ("made", "part", "holds"),
    [
        (forms.document("Avtal & bilaga", ["Åäö <1>"]), "word/document.xml", "Åäö <1>"),
        (forms.sheet("Blad", [("Konto", "Belopp"), ("Åsa", 12.5)]), "xl/worksheets/sheet1.xml", "Åsa"),
    ],
)
def test_office_files_are_packages_whose_parts_are_there(made: bytes, part: str, holds: str) -> None:
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        parts = {name: ElementTree.fromstring(archive.read(name)) for name in names}
    assert holds in "".join(parts[part].itertext())
    for kind in parts["[Content_Types].xml"]:
        assert kind.get("PartName") is None or str(kind.get("PartName")).lstrip("/") in names
    for relation in parts["_rels/.rels"]:
        assert relation.get("Target") in names


def test_a_table_opens_in_a_swedish_spreadsheet() -> None:
    made = forms.table([("Konto", "Text"), (1910, "Öl")])
    assert list(csv.reader(io.StringIO(made.decode("utf-8-sig"), newline=""), delimiter=";"))[1] == ["1910", "Öl"]


def test_the_documents_are_the_same_each_time_and_no_two_alike() -> None:
    first, second = list(papers.papers()), list(papers.papers())
    assert first == second
    assert all(len(set(paper.versions)) == len(paper.versions) for paper in first)
    assert len({(paper.customer, paper.room, paper.path) for paper in first}) == len(first)
    assert sum(len(paper.versions) > 1 for paper in first) >= 10
    assert {paper.by for paper in first} <= {someone.login for someone in (*world.PEOPLE, *world.members())}


def test_the_association_has_eighty_members() -> None:
    members = list(world.members())
    assert len(members) == len({each.name for each in members}) == len({each.login for each in members}) == 80

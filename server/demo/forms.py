"""Small valid files of our own making: text, CSV, PDF, and the two of Office. The same input gives the same bytes."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

#: ZIP knows no time before.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_LINES_A_PAGE = 48
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_MIME = "application/vnd.openxmlformats-officedocument"


def text(lines: Iterable[str]) -> bytes:
    """Return plain text in UTF-8."""
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def table(rows: Iterable[Sequence[object]]) -> bytes:
    """Return CSV as a Swedish spreadsheet writes it: semicolons, with a byte order mark."""
    return b"\xef\xbb\xbf" + "".join(";".join(map(str, row)) + "\r\n" for row in rows).encode("utf-8")


def pdf(title: str, lines: Sequence[str]) -> bytes:
    """Return a PDF 1.4 of one or more A4 pages (ISO 32000). Characters beyond Latin-1 show as a question mark."""
    pages = [lines[start : start + _LINES_A_PAGE] for start in range(0, len(lines), _LINES_A_PAGE)] or [[]]
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode("ascii"),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, page in enumerate(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * number} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>".encode("ascii")
        )
        content = zlib.compress(_page(title, page, number + 1), 9)
        head = f"<< /Length {len(content)} /Filter /FlateDecode >>\nstream\n".encode("ascii")
        objects.append(head + content + b"\nendstream")
    return _assembled(objects)


def _page(title: str, lines: Sequence[str], number: int) -> bytes:
    drawn = [b"BT /F1 16 Tf 60 780 Td (" + _pdf_text(title) + b") Tj ET", b"BT /F1 10 Tf 14 TL 60 750 Td"]
    drawn += [b"(" + _pdf_text(line) + b") '" for line in lines]
    drawn += [b"ET", f"BT /F1 8 Tf 280 30 Td ({number}) Tj ET".encode("ascii")]
    return b"\n".join(drawn)


def _pdf_text(line: str) -> bytes:
    raw = line.encode("cp1252", "replace")
    return raw.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _assembled(objects: Sequence[bytes]) -> bytes:
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n%\xe5\xe4\xf6\xfc\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    for place in places:
        out.write(b"%010d 00000 n \n" % place)
    out.write(b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start))
    return out.getvalue()


def document(title: str, paragraphs: Iterable[str]) -> bytes:
    """Return a word processor's document (ECMA-376, .docx)."""
    heading = f'<w:p><w:r><w:rPr><w:b/><w:sz w:val="32"/></w:rPr><w:t>{escape(title)}</w:t></w:r></w:p>'
    body = "".join(f'<w:p><w:r><w:t xml:space="preserve">{escape(each)}</w:t></w:r></w:p>' for each in paragraphs)
    main = f'<w:document xmlns:w="{_WORD}"><w:body>{heading}{body}<w:sectPr/></w:body></w:document>'
    return _package("word/document.xml", f"{_MIME}.wordprocessingml.document.main+xml", {"word/document.xml": main})


def sheet(name: str, rows: Iterable[Sequence[object]]) -> bytes:
    """Return a spreadsheet of one sheet (ECMA-376, .xlsx)."""
    lines = "".join(
        f'<row r="{number}">{"".join(_cell(column, number, value) for column, value in enumerate(row))}</row>'
        for number, row in enumerate(rows, 1)
    )
    parts = {
        "xl/workbook.xml": f'<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}"><sheets>'
        f'<sheet name="{escape(name)[:31]}" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": _relations("worksheet", "worksheets/sheet1.xml"),
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_SHEET}"><sheetData>{lines}</sheetData></worksheet>',
    }
    extra = {"xl/worksheets/sheet1.xml": f"{_MIME}.spreadsheetml.worksheet+xml"}
    return _package("xl/workbook.xml", f"{_MIME}.spreadsheetml.sheet.main+xml", parts, extra)


def _cell(column: int, number: int, value: object) -> str:
    place = f"{chr(ord('A') + column)}{number}"
    if isinstance(value, int | float):
        return f'<c r="{place}"><v>{value}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t>{escape(str(value))}</t></is></c>'


def _relations(kind: str, target: str) -> str:
    relation = f'<Relationship Id="rId1" Type="{_OFFICE}/{kind}" Target="{target}"/>'
    return f'<Relationships xmlns="{_RELATIONS}">{relation}</Relationships>'


def _package(main: str, kind: str, parts: dict[str, str], extra: dict[str, str] | None = None) -> bytes:
    overrides = "".join(
        f'<Override PartName="/{part}" ContentType="{mime}"/>' for part, mime in ({main: kind} | (extra or {})).items()
    )
    defaults = (
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
    )
    every = {
        "[Content_Types].xml": f'<Types xmlns="{_TYPES}">{defaults}{overrides}</Types>',
        "_rels/.rels": _relations("officeDocument", main),
        **parts,
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in every.items():
            info = zipfile.ZipInfo(name, _ZIP_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
            archive.writestr(info, (head + content).encode("utf-8"))
    return out.getvalue()

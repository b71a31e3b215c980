"""Files as programs write them: zip packages, PDFs, databases, pictures, sound, drawings. Enough of each to open them.

What matters to who stores versions is kept: what is compressed and how, what moves when something before it grows, what
a program writes anew at every save though nothing in it has changed.
"""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from itertools import pairwise

#: What office programs put for the time of each part.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_XML = b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\r\n'
_MAIN = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
#: Parts that are pictures are stored, all else is deflated.
_STORED = (".jpeg", ".png")


class Words:
    """Running text, some words far more often than others, as in any language."""

    def __init__(self, drawn: random.Random) -> None:
        self._drawn = drawn
        syllables = [a + b for a in "bdfghjklmnprstv" for b in ("a", "e", "i", "o", "u", "å", "ä", "ö", "en", "ar")]
        self._words = ["".join(drawn.choices(syllables, k=drawn.choice((1, 2, 2, 3, 3, 4)))) for _ in range(4000)]
        self._weights = [1 / (rank + 3) for rank in range(4000)]

    def sentence(self, words: int = 12) -> str:
        """Return a sentence of about so many words."""
        count = max(3, round(self._drawn.gauss(words, words / 3)))
        return " ".join(self._drawn.choices(self._words, self._weights, k=count)).capitalize() + "."

    def paragraph(self) -> str:
        """Return some sentences."""
        return " ".join(self.sentence() for _ in range(self._drawn.randint(2, 7)))


def package(parts: Mapping[str, bytes]) -> bytes:
    """Return a zip package with these parts, in this order, as Office and LibreOffice write them."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in parts.items():
            info = zipfile.ZipInfo(name, _ZIP_TIME)
            info.compress_type = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
            archive.writestr(info, content, compresslevel=6)
    return made.getvalue()


def _frame(kind: str, main: str, version: int) -> dict[str, bytes]:
    """Return the parts that every package of Office has; its core properties are another at each save."""
    core = f"<cp:coreProperties><cp:revision>{version}</cp:revision><dcterms:modified>{version:010}</dcterms:modified>"
    theme = "".join(
        f'<a:schemeClr val="accent{n % 6}"><a:tint val="{n * 37 % 100000}"/></a:schemeClr>' for n in range(160)
    )
    return {
        "[Content_Types].xml": _XML + f'<Types><Override PartName="/{main}" ContentType="{kind}"/></Types>'.encode(),
        "_rels/.rels": _XML + f'<Relationships><Relationship Id="rId1" Target="{main}"/></Relationships>'.encode(),
        "docProps/core.xml": _XML + core.encode() + b"</cp:coreProperties>",
        "docProps/app.xml": _XML + b"<Properties><Application>Microsoft Office Word</Application></Properties>",
        "theme/theme1.xml": _XML + f"<a:theme>{theme}</a:theme>".encode(),
    }


def docx(paragraphs: Sequence[str], pictures: Sequence[bytes], version: int) -> bytes:
    """Return a document of Word: its text in one part, each picture in one."""
    rows = "".join(
        f'<w:p w:rsidR="00{zlib.crc32(text.encode()) & 0xFFFFFF:06X}" w:rsidRDefault="00A77B3E"><w:pPr><w:pStyle '
        f'w:val="Brdtext"/></w:pPr><w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'
        for text in paragraphs
    )
    marks = "".join(f'<w:rsid w:val="00{number * 7919:06X}"/>' for number in range(version))
    styles = "".join(
        f'<w:style w:styleId="S{n}"><w:name w:val="Stil {n}"/><w:sz w:val="{n % 40}"/></w:style>' for n in range(220)
    )
    return package(
        {
            **_frame("wordprocessingml.document.main+xml", "word/document.xml", version),
            "word/document.xml": _XML + f'<w:document xmlns:w="{_MAIN}"><w:body>{rows}</w:body></w:document>'.encode(),
            **{f"word/media/image{number}.jpeg": content for number, content in enumerate(pictures, 1)},
            "word/settings.xml": _XML + f"<w:settings><w:rsids>{marks}</w:rsids></w:settings>".encode(),
            "word/styles.xml": _XML + f"<w:styles>{styles}</w:styles>".encode(),
        }
    )


def xlsx(sheets: Sequence[Sequence[Sequence[float]]], texts: Sequence[str], version: int) -> bytes:
    """Return a workbook of Excel: each sheet in one part, all its texts in another."""
    parts = _frame("spreadsheetml.sheet.main+xml", "xl/workbook.xml", version)
    parts["xl/workbook.xml"] = _XML + b"<workbook><sheets/></workbook>"
    for number, rows in enumerate(sheets, 1):
        made = []
        for at, row in enumerate(rows, 1):
            cells = "".join(
                f'<c r="{chr(65 + column)}{at}" s="{column % 9}"><v>{value:.15g}</v></c>'
                for column, value in enumerate(row)
            )
            made.append(f'<row r="{at}" spans="1:{len(row)}" x14ac:dyDescent="0.25">{cells}</row>')
        parts[f"xl/worksheets/sheet{number}.xml"] = (
            _XML + f"<worksheet><sheetData>{''.join(made)}</sheetData></worksheet>".encode()
        )
    shared = "".join(f"<si><t>{text}</t></si>" for text in texts)
    parts["xl/sharedStrings.xml"] = _XML + f"<sst>{shared}</sst>".encode()
    return package(parts)


def pptx(slides: Sequence[Sequence[str]], pictures: Sequence[bytes], version: int) -> bytes:
    """Return a presentation of PowerPoint: each slide in one part, and its picture in another."""
    parts = _frame("presentationml.presentation.main+xml", "ppt/presentation.xml", version)
    for number, (lines, picture) in enumerate(zip(slides, pictures, strict=True), 1):
        rows = "".join(
            f'<a:p><a:r><a:rPr lang="sv-SE" sz="{1800 + at}"/><a:t>{line}</a:t></a:r></a:p>'
            for at, line in enumerate(lines)
        )
        parts[f"ppt/slides/slide{number}.xml"] = _XML + f"<p:sld><p:txBody>{rows}</p:txBody></p:sld>".encode()
        parts[f"ppt/media/image{number}.jpeg"] = picture
    return package(parts)


class Pdf:
    """A PDF that is made object by object. Written whole, or with what has changed after what stands."""

    def __init__(self) -> None:
        self._made = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
        self._at: dict[int, int] = {}
        self._start = 0

    def add(self, number: int, head: bytes, stream: bytes | None = None) -> None:
        """Append an object, or another state of it."""
        self._at[number] = len(self._made)
        self._made += b"%d 0 obj\n" % number
        if stream is None:
            self._made += head
        else:
            self._made += b"<< %s /Length %d >>\nstream\n%s\nendstream" % (head, len(stream), stream)
        self._made += b"\nendobj\n"

    def written(self, identity: bytes) -> bytes:
        """End what was added with its table and trailer, and return the whole file so far."""
        start = len(self._made)
        self._made += b"xref\n"
        for number, offset in sorted(self._at.items()):
            self._made += b"%d 1\n%010d 00000 n \n" % (number, offset)
        previous = b"/Prev %d " % self._start if self._start else b""
        self._made += b"trailer\n<< /Root 1 0 R %s/ID [<%s> <%s>] >>\n" % (previous, identity[:32], identity[32:])
        self._made += b"startxref\n%d\n%%%%EOF\n" % start
        self._at, self._start = {}, start
        return bytes(self._made)


def page(lines: Sequence[str], xobject: int | None) -> bytes:
    """Return a page's drawing, deflated: lines of text set letter by letter, as typesetters do."""
    rows = [b"BT /F1 11 Tf 56 780 Td 14 TL"]
    for line in lines:
        shown = b") -3 (".join(part.encode("cp1252", "replace") for part in line.split(" "))
        rows.append(b"[(%s)] TJ T*" % shown)
    rows.append(b"ET" + (b" q 480 0 0 270 56 60 cm /I%d Do Q" % xobject if xobject else b""))
    return zlib.compress(b"\n".join(rows))


def jpeg(xmp: bytes, scan: bytes) -> bytes:
    """Return a photograph: what is told of it in front, then what was seen, which cannot be compressed."""
    told = b"http://ns.adobe.com/xap/1.0/\0" + xmp
    quantised = b"\xff\xdb\x00\x43\x00" + bytes(range(64))
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(told) + 2) + told + quantised + b"\xff\xda" + scan + b"\xff\xd9"


def mp3(tags: Mapping[bytes, bytes], padding: int, frames: bytes) -> bytes:
    """Return sound with ID3 tags in front, which have some room to grow in."""
    made = b"".join(name + struct.pack(">IH", len(text) + 1, 0) + b"\x03" + text for name, text in tags.items())
    size = len(made) + padding
    sizes = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + sizes + made + bytes(padding) + frames


#: What a page of a drawing holds before it is compressed, in AutoCAD's format of 2004 and later.
_DRAWING_PAGE = 0x7400


def drawing(objects: Sequence[bytes], version: int) -> bytes:
    """Return a binary drawing: objects one after another, cut into pages, each page compressed; then a map of both."""
    body, offsets = bytearray(), []
    for each in objects:
        offsets.append(len(body))
        body += struct.pack("<H", len(each)) + each
    pages = [zlib.compress(bytes(body[at : at + _DRAWING_PAGE]), 1) for at in range(0, len(body), _DRAWING_PAGE)]
    handles = b"".join(struct.pack("<HH", 1, (after - before) & 0xFFFF) for before, after in pairwise(offsets))
    head = b"AC1018" + struct.pack("<IIQ", version, len(pages), 2_460_000 + version).ljust(250, b"\0")
    made = [head]
    for number, content in enumerate(pages):
        padded = content.ljust(-(-len(content) // 32) * 32, b"\0")
        made.append(
            struct.pack("<IIIII", 0x4163043B, number, len(content), _DRAWING_PAGE, zlib.adler32(content)).ljust(
                32, b"\0"
            )
            + padded
        )
    made.append(zlib.compress(handles, 1))
    made.append(b"".join(struct.pack("<II", number, len(content)) for number, content in enumerate(pages)))
    return b"".join(made)


def dxf(entities: Sequence[tuple[int, str, Sequence[float]]]) -> bytes:
    """Return a drawing as text: a line for each code and one for each value."""
    rows = ["  0", "SECTION", "  2", "ENTITIES"]
    for handle, layer, numbers in entities:
        rows += ["  0", "LINE", "  5", f"{handle:X}", "330", "1F", "100", "AcDbEntity", "  8", layer, "100", "AcDbLine"]
        for code, number in zip((10, 20, 30, 11, 21, 31), numbers, strict=False):
            rows += [f"{code:3}", f"{number:.12g}"]
    rows += ["  0", "ENDSEC", "  0", "EOF", ""]
    return "\r\n".join(rows).encode()

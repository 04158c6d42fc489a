"""From bytes to text: which encoding a file has, or in words what it is instead of a text file."""

from __future__ import annotations

import codecs
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from infra.data.losses import DataUnusable
from infra.data.old_encodings import guess

# All of it is held in memory, about four times its size.
MOST_BYTES = 256 * 1024 * 1024
# In an UTF-8 file that was mended by hand a few bytes are of another encoding.
BROKEN_SHARE = 0.1
BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MAGIC = (
    (
        b"\x1f\x8b",
        "is compressed (gzip): unpack it with 'gunzip -k {name}' and name what that gives",
    ),
    (b"BZh", "is compressed (bzip2): unpack it with 'bunzip2 -k {name}' and name what that gives"),
    (
        b"\xfd7zXZ\x00",
        "is compressed (xz): unpack it with 'unxz -k {name}' and name what that gives",
    ),
    (
        b"\x28\xb5\x2f\xfd",
        "is compressed (zstd): unpack it with 'unzstd {name}' and name what that gives",
    ),
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive: unpack it, and name the CSV inside"),
    (b"Rar!\x1a\x07", "is a RAR archive: unpack it, and name the CSV inside"),
    (
        b"\xd0\xcf\x11\xe0",
        "is an old Excel workbook (.xls): save its sheet as 'CSV UTF-8', and name that",
    ),
    (
        b"PAR1",
        "is a Parquet file: write it as CSV, e.g. pandas.read_parquet(…).to_csv(…, index=False)",
    ),
    (
        b"ARROW1",
        "is an Arrow file: write it as CSV, e.g. pandas.read_feather(…).to_csv(…, index=False)",
    ),
    (b"SQLite format 3\x00", "is an SQLite database: export its table as CSV (.mode csv, .output)"),
    (b"%PDF", "is a PDF: a CSV, TSV or JSONL file is needed"),
    (b"{\\rtf", "is a text with layout (RTF): a CSV, TSV or JSONL file is needed"),
)
# ISO-2022, in which Japanese and Korean mail is written: ASCII alone, and escapes between scripts.
ESCAPES = (b"\x1b$", ("iso2022_kr", "iso2022_jp_2"))
SQL = re.compile(
    rb"(?:\s|--[^\n]*\n|/\*.*?\*/;?)*(?:(?:insert\s+into|create\s+table|drop\s+table)\b)",
    re.IGNORECASE | re.DOTALL,
)
MARKUP = re.compile(rb"<(\?xml|!doctype|html|table|meta)\b", re.IGNORECASE)
SHEETS = {
    "xl/": "is an Excel workbook: save its sheet as 'CSV UTF-8', and name that file",
    "word/": "is a Word document: a CSV, TSV or JSONL file is needed",
    "content.xml": "is an OpenDocument file: save its sheet as CSV with UTF-8, and name that file",
}


@dataclass(frozen=True)
class Text:
    """A file's text, and how it was encoded; `guessed` where nothing in the file proves it."""

    text: str
    encoding: str
    guessed: bool = False


def read_text(path: Path, encoding: str | None = None) -> Text:
    """Read a file as text in `encoding`, or in the one that its bytes show."""
    raw = read_bytes(path)
    refuse_other_kinds(path, raw)
    if encoding is not None:
        return decoded_as(path, raw, encoding)
    found = by_mark(path, raw) or as_utf16(raw) or by_escapes(raw) or as_utf8(raw)
    if found is None and b"\x00" not in raw:
        found = guessed(raw)
    if found is None:
        raise DataUnusable(
            f"{path} is not text in any encoding that is known here: save it as UTF-8, or name the"
            " encoding with --encoding"
        )
    if not found.text.strip("\ufeff\x00 \t\r\n"):
        raise DataUnusable(f"{path} is empty: it needs a header and rows")
    return found


def read_bytes(path: Path) -> bytes:
    """Read all bytes; a folder, nothing and what does not fit in memory are refused."""
    if path.is_dir():
        inside = sorted(
            each.name
            for each in path.iterdir()
            if each.suffix.lower() in {".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json"}
        )
        there = f"name a file in it: {', '.join(inside[:5])}" if inside else "name a file"
        raise DataUnusable(f"{path} is a folder: {there}")
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataUnusable(
                f"{path} has {size / 2**20:,.0f} MiB, and {MOST_BYTES / 2**20:.0f} are read:"
                f" take a part of it, e.g. head -100000 {path.name} > part{path.suffix}"
            )
        raw = path.read_bytes()
    except OSError as error:
        raise DataUnusable(f"{path} cannot be read: {error.strerror or error}") from error
    if not raw:
        raise DataUnusable(f"{path} is empty: it needs a header and rows")
    return raw


def refuse_other_kinds(path: Path, raw: bytes) -> None:
    """Say in words what a file is that is no text."""
    begin = raw[:1000].removeprefix(codecs.BOM_UTF8).lstrip()
    for magic, words in MAGIC:
        if begin.startswith(magic):
            raise DataUnusable(f"{path} {words.format(name=path.name)}")
    if MARKUP.match(begin):
        raise DataUnusable(
            f"{path} is HTML or XML, whatever its name says: open it in a spreadsheet, save its"
            " sheet as 'CSV UTF-8', and name that file"
        )
    if SQL.match(begin):
        raise DataUnusable(
            f"{path} is SQL: export the table itself as CSV (COPY … TO, SELECT … INTO OUTFILE,"
            " .mode csv), and name that file"
        )
    if raw.startswith(b"PK\x03\x04"):
        raise DataUnusable(f"{path} {inside_zip(path)}")


def inside_zip(path: Path) -> str:
    """Say what a zip file holds: spreadsheets and documents are zip files."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        names = []
    for beginning, words in SHEETS.items():
        if any(name.startswith(beginning) for name in names):
            return words
    inside = f" ({', '.join(names[:3])})" if names else ""
    return f"is a zip archive{inside}: unpack it, and name the file inside"


def decoded_as(path: Path, raw: bytes, encoding: str) -> Text:
    try:
        text = raw.decode(encoding)
    except LookupError as error:
        raise DataUnusable(
            f"there is no encoding '{encoding}': utf-8, utf-16, cp1252, cp1251, gb18030 and"
            " shift_jis are some"
        ) from error
    except UnicodeDecodeError as error:
        raise DataUnusable(
            f"{path} is not {encoding}: byte {error.start:,} is none; leave --encoding out to"
            " have it found"
        ) from error
    return Text(text.removeprefix("\ufeff"), encoding)


def by_mark(path: Path, raw: bytes) -> Text | None:
    """Decode a file that begins with a byte order mark."""
    for mark, encoding in BOMS:
        if raw.startswith(mark):
            if encoding == "utf-8-sig":
                found = as_utf8(raw[len(mark) :])
                return found and Text(found.text, "utf-8 with a byte order mark")
            try:
                return Text(raw.decode(encoding).removeprefix("\ufeff"), encoding)
            except UnicodeDecodeError as error:
                raise DataUnusable(
                    f"{path} begins as {encoding.upper()} and breaks at byte {error.start:,}: it is"
                    " cut off, or was joined from two files; save it again as UTF-8"
                ) from error
    return None


def as_utf16(raw: bytes) -> Text | None:
    """Decode UTF-16 without a mark: its separators and line ends have a zero byte each.

    Text in UTF-8 or an old encoding has none.
    """
    if len(raw) % 2 or b"\x00" not in raw:
        return None
    for encoding, end in (("utf-16-le", b"\n\x00"), ("utf-16-be", b"\x00\n")):
        first = 1 if encoding == "utf-16-le" else 0
        high, low = raw[first::2], raw[1 - first :: 2]
        if high.count(0) <= low.count(0) or end not in raw:
            continue
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if text.count("\x00") * 100 < len(text):
            return Text(text, f"{encoding} without a byte order mark")
    return None


def by_escapes(raw: bytes) -> Text | None:
    """Decode ISO-2022, which no other text looks like."""
    escape, encodings = ESCAPES
    for encoding in encodings if escape in raw else ():
        try:
            return Text(raw.decode(encoding), encoding)
        except UnicodeDecodeError:
            continue
    return None


def as_utf8(raw: bytes) -> Text | None:
    """Decode UTF-8; the rows of the few bytes that are none are found later by U+FFFD."""
    try:
        return Text(raw.decode(), "utf-8") if not is_binary(raw) else None
    except UnicodeDecodeError:
        text = raw.decode(errors="replace")
    broken = text.count("\ufffd")
    good = sum(character > "\x7f" for character in text) - broken
    if is_binary(raw) or broken > BROKEN_SHARE * good:
        return None
    return Text(text, "utf-8, broken in places")


def is_binary(raw: bytes) -> bool:
    return raw.count(0) * 100 > len(raw)


def guessed(raw: bytes) -> Text | None:
    encoding = guess(raw)
    return Text(raw.decode(encoding), encoding, guessed=True) if encoding else None

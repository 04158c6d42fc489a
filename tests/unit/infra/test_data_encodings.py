"""Any file is read as text in the encoding it has, or refused in words that say what it is."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from infra.data.encodings import read_text
from infra.data.losses import DataUnusable

# One message in many languages, each in the encoding that its spreadsheets write.
OLD = {
    "cp1252": (
        "Wann kommt mein Päckchen? Ich möchte eine Rückerstattung für die Größe",
        "Où est ma commande, reçue abîmée à l’épaule… réglée hier",
        "¿Dónde está mi pedido? Mañana me voy",
        "Não recebi a encomenda, quero devolução já",
        "I don’t know where my parcel is",
        "I paid £20 too much – why?",
    ),
    "cp1250": (
        "Gdzie jest moja paczka? Żądam zwrotu pieniędzy, proszę",
        "Kde je můj balíček? Děkuji",
    ),
    "cp1251": ("Где моя посылка? Верните деньги", "Де моя посилка? Поверніть гроші"),
    "koi8_r": ("Где моя посылка? Верните деньги, пожалуйста",),
    "cp1253": ("Πού είναι το δέμα μου; θέλω επιστροφή χρημάτων",),
    "cp1254": ("Kargom nerede, iade istiyorum, şifremi değiştirdim",),
    "cp1255": ("איפה החבילה שלי? אני רוצה החזר כספי",),
    "cp1256": ("أين طردي؟ أريد استرداد المال من فضلك",),
    "cp1257": ("Kur mano siuntinys? Prašau grąžinti pinigus, ačiū",),
    "cp874": ("พัสดุของฉันอยู่ที่ไหน ขอเงินคืนด้วยค่ะ",),
    "gb18030": ("我的包裹在哪里？我要退款，谢谢你们的帮助",),
    "big5": ("我的包裹在哪裡？我要退款，謝謝你們的幫助",),
    "cp932": ("荷物はどこですか？返金してください", "キャンセルしたいです"),
    "euc_jp": ("荷物はどこですか？返金してください",),
    "cp949": ("제 소포는 어디에 있나요? 환불해 주세요",),
    "cp866": ("Где моя посылка? Верните деньги, пожалуйста",),
    "iso8859_5": ("Где моя посылка? Верните деньги, пожалуйста",),
    "iso8859_6": ("أين طردي؟ أريد استرداد المال من فضلك",),
    "iso8859_2": (
        "Gdzie jest moja paczka? Żądam zwrotu pieniędzy, proszę",
        "Kde je můj balíček? Žádám vrácení peněz, děkuji",
    ),
    "cp850": (
        "Wo bleibt mein Päckchen? Ich möchte das Geld zurück, bitte prüfen",
        "Où est ma commande? Elle a été reçue abîmée, très déçu",
        "¿Dónde está mi pedido? Mañana me voy",
    ),
    "cp852": ("Gdzie jest moja paczka? Żądam zwrotu pieniędzy, proszę",),
    "mac_roman": ("Où est ma commande, reçue abîmée à l’épaule",),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "messages.csv"


@pytest.mark.parametrize("rows", [3, 200])
@pytest.mark.parametrize(
    ("encoding", "words"), [(name, each) for name, words in OLD.items() for each in words]
)
def test_an_old_encoding_is_told_by_its_words(
    file: Path, encoding: str, words: str, rows: int
) -> None:
    text = "text;label\n" + f"Hello there;x\n{words};y\n" * rows
    file.write_bytes(text.encode(encoding))
    found = read_text(file)
    assert found.text == text and found.guessed


TEXT = "text,label\n我的包裹在哪里,物流\nWhere is it?,delivery\n"


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"],
)
@pytest.mark.parametrize("text", [TEXT, "text;label\nWhere is it?;a\n", "文本；标签\n退款；钱\n"])
def test_every_form_of_unicode_is_read(file: Path, encoding: str, text: str) -> None:
    mark = "\ufeff" if encoding == "utf-32-le" else ""
    file.write_bytes((mark + text).encode(encoding))
    found = read_text(file)
    assert found.text == text and not found.guessed


def test_a_file_in_utf_8_with_a_few_foreign_bytes_stays_utf_8(file: Path) -> None:
    good = "Größe für Möller;x\n" * 30
    file.write_bytes(f"text;label\n{good}".encode() + "Käse;y\n".encode("cp1252"))
    found = read_text(file)
    assert found.encoding == "utf-8, broken in places"
    assert found.text.count("\ufffd") == 1 and "Größe für Möller" in found.text


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n \r\n\t\n", "is empty"),
        ("\ufeff".encode(), "is empty"),
        ("\ufeff\r\n".encode("utf-16"), "is empty"),
        (gzip.compress(TEXT.encode(), mtime=0), "gunzip -k messages.csv"),
        (zipped("messages.csv"), "a zip archive (messages.csv): unpack it"),
        (zipped("xl/workbook.xml", "[Content_Types].xml"), "an Excel workbook: save its sheet"),
        (zipped("word/document.xml"), "a Word document"),
        (zipped("mimetype", "content.xml"), "an OpenDocument file"),
        (b"PK\x03\x04 cut off", "a zip archive: unpack it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "an old Excel workbook"),
        (b"PAR1" + bytes(range(256)), "a Parquet file"),
        (b"\x28\xb5\x2f\xfd" + bytes(90), "unzstd messages.csv"),
        (b"SQLite format 3\x00" + bytes(90), "an SQLite database"),
        (b"%PDF-1.7\n\x93\x8c", "a PDF"),
        (b"{\\rtf1\\ansi text,label", "a text with layout (RTF)"),
        (b"\n<!DOCTYPE html><table><tr><td>text", "is HTML or XML, whatever its name says"),
        (b'<?xml version="1.0"?><rows/>', "is HTML or XML"),
        (b"\xef\xbb\xbf<HTML>", "is HTML or XML"),
        (bytes(range(256)) * 4, "is not text in any encoding that is known here"),
        ("text,label\na,b\n".encode("utf-16")[:-1], "breaks at byte"),
    ],
)
def test_what_is_no_text_is_refused_in_words(file: Path, content: bytes, words: str) -> None:
    file.write_bytes(content)
    with pytest.raises(DataUnusable) as refused:
        read_text(file)
    assert words in str(refused.value)


def test_a_message_that_begins_like_markup_is_one(file: Path) -> None:
    file.write_text("<3 you all,thanks\n<name> is missing,bug\n")
    assert read_text(file).text.startswith("<3")


def test_a_folder_says_what_lies_in_it(tmp_path: Path) -> None:
    (tmp_path / "may.csv").write_text("x")
    (tmp_path / "picture.png").write_text("x")
    with pytest.raises(DataUnusable, match=r"is a folder: name a file in it: may\.csv$"):
        read_text(tmp_path)


def test_a_file_that_is_not_there_is_refused_in_words(file: Path) -> None:
    with pytest.raises(DataUnusable, match="cannot be read: No such file"):
        read_text(file)


def test_an_encoding_that_is_named_is_the_one(file: Path) -> None:
    file.write_bytes("text,label\nĚšč,x\n".encode("cp1250"))
    assert "Ěšč" in read_text(file, "cp1250").text
    with pytest.raises(DataUnusable, match="is not utf-8: byte 13 is none"):
        read_text(file, "utf-8")
    with pytest.raises(DataUnusable, match="there is no encoding 'utf-9'"):
        read_text(file, "utf-9")
    with pytest.raises(DataUnusable, match="there is no encoding 'base64'"):
        read_text(file, "base64")


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("iso2022_jp", "荷物はどこですか？返金してください"),
        ("iso2022_jp", "キャンセルしたいです"),
        ("iso2022_kr", "제 소포는 어디에 있나요? 환불해 주세요"),
    ],
)
def test_mail_in_seven_bits_is_read(file: Path, encoding: str, words: str) -> None:
    """All of it is ASCII, so that it once passed for UTF-8: `$B2YJ*$O$$$D`."""
    text = f"text;label\nHello there;x\n{words};y\n"
    file.write_bytes(text.encode(encoding))
    assert read_text(file).text == text


@pytest.mark.parametrize(
    "begin",
    [
        "INSERT INTO m VALUES ('hello', 'x');\n",
        "-- PostgreSQL database dump\n--\n\ncreate table m (text text);\n",
        "/*!40101 SET NAMES utf8 */;\nDROP TABLE IF EXISTS `m`;\n",
    ],
)
def test_sql_is_refused_in_words(file: Path, begin: str) -> None:
    file.write_text(begin * 3)
    with pytest.raises(DataUnusable, match="is SQL: export the table itself as CSV"):
        read_text(file)
    file.write_text("text,label\nInsert into which table?,help\n")
    assert read_text(file).encoding == "utf-8"

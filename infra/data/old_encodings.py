"""Which encoding of before Unicode a file has: only its words can tell.

charset-normalizer knows the script; between encodings of one script it errs on short files: French,
Portuguese and Turkish were taken for cp1250 and Shift-JIS for Korean, with 3 rows and with 200. So
the Latin ones are told apart by the letters that languages use, and Japanese by its kana.
"""

from __future__ import annotations

import re

from charset_normalizer import from_bytes

# What the guess looks at.
LOOKED_AT = 256 * 1024
# A cp125x holds its ISO-8859 sibling, cp932 Shift-JIS, gb18030 GBK and GB2312, cp949 EUC-KR.
OTHER_SCRIPTS = ["cp1251", "cp1253", "cp1255", "cp1256", "cp874", "koi8_r"]
OTHER_SCRIPTS += ["cp866", "iso8859_5", "mac_cyrillic", "iso8859_6"]
OTHER_SCRIPTS += ["gb18030", "big5", "cp949"]
WESTERN = ("äöüß", "àâæçéèêëîïôœùûüÿ", "áéíñóúü", "áâãàçéêíóôõú", "àèéìòù", "åäöæøé", "àçèéíïòóúü")
CENTRAL = ("ąćęłńóśźż", "áčďéěíňóřšťúůýžľĺôäŕ", "áéíóöőúüű", "ăâîşţ", "čćđšž")
# The letters beyond ASCII of languages, by the encoding that their files have; the first of equals
# is taken.
LATIN = {
    "cp1252": WESTERN,
    "cp1250": CENTRAL,
    "cp1254": ("çğıöşüâîûi̇",),
    "cp1257": ("ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž"),
    "mac_roman": WESTERN,
    "iso8859_2": CENTRAL,
    # What a spreadsheet calls 'CSV (MS-DOS)'.
    "cp850": WESTERN,
    "cp852": CENTRAL,
}
# Quotes, dashes and currencies, which all languages use.
SIGNS = "\u2018\u2019\u201a\u201c\u201d\u201e\u2013\u2014\u2026\u2022\u00a0«»€£°§©®™½·×¿¡"
# Signs where none stands are letters of another encoding: DOS has ä where Windows has „.
MISPLACED = re.compile(r"(?<=[^\W\d_])[‚“”„–—…•°«»€£§©®™½×¿¡](?=[^\W\d_])|[€£°§©®™½×](?=[^\W\d_])")
JAPANESE = ("cp932", "euc_jp")
# Share of kana in Japanese, of all characters beyond ASCII; by chance there are hardly any.
KANA = 0.15


def guess(raw: bytes) -> str | None:
    """Return the likeliest encoding in which all of `raw` can be read."""
    sample = raw[:LOOKED_AT]
    for encoding in JAPANESE:
        if kana(decoded(sample, encoding)) >= KANA and fits(raw, encoding):
            return encoding
    latin = max(
        (name for name in LATIN if fits(raw, name)),
        key=lambda name: typical(decoded(sample, name), LATIN[name]),
        default=None,
    )
    found = from_bytes(sample, cp_isolation=[*LATIN, *OTHER_SCRIPTS], enable_fallback=False).best()
    script = found.encoding if found else None
    return script if script in OTHER_SCRIPTS and fits(raw, script) else latin


def fits(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def decoded(sample: bytes, encoding: str) -> list[str]:
    """Return the characters beyond ASCII; the last may be cut in two."""
    text = MISPLACED.sub("\ufffd", sample.decode(encoding, "replace"))
    return [each for each in text if each > "\x7f"]


def kana(found: list[str]) -> float:
    return sum("\u3041" <= each <= "\u30fe" for each in found) / max(1, len(found))


def typical(found: list[str], languages: tuple[str, ...]) -> float:
    """Return the share of usual signs, and of letters that the language uses that fits best."""
    folded = [each.casefold() for each in found]
    return max(
        sum(each in letters or each in SIGNS for each in folded) / max(1, len(folded))
        for letters in languages
    )

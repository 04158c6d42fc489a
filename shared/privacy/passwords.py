"""Passwords, and keys of any form, by what they are called."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from shared.privacy.finds import Find

_PASSWORDS = (
    r"passwo?r[dt]s?|passwd|passphrase|passw|pass(?:code|key)?|pwd|pswd|psw|pw|kennwort"
    r"|mot[ ]de[ ]passe|mdp|contraseña|clave|senha|palavra-passe|wachtwoord|hasł[oa]|парол[ьея]"
    r"|密码|密碼|口令|パスワード|パス|暗証番号|비밀번호"
    r"|كلمة[ ](?:المرور|السر)|şifre|parola|lösenord"
)
# The last word of a name: `AZURE_ACCOUNT_KEY`, `clientSecret`, `x-api-key`.
_KEYS = (
    r"(?:api|access|account|shared|secret|private|master|signing|encryption|auth|admin|service"
    r"|webhook|integration|license)(?:[ _-]?access)?[ _-]?(?:key|schlüssel)"
    r"|apikey|secret|token|credential|api[ _-]?schlüssel|cl[eé][ ]api|clave[ ]api|chiave[ ]api"
    r"|chave[ ]api|klucz[ ]api|api[ -]?sleutel|ключ[ ]api|api[- ]?ключ|токен|密钥|密鑰|令牌"
    r"|APIキー|トークン|シークレット|مفتاح|sig(?==)"
)
_NAME = re.compile(
    rf"(?P<password>{_PASSWORDS})|(?P<key>(?:{_KEYS})s?)|(?P<bearer>bearer|token)|(?P<basic>basic)",
    re.IGNORECASE,
)
# What these names begin with. Searching for it in small letters takes 3 us a text, and for the
# names whatever their case 40.
_STEM = re.compile(
    "pass|pw|ps|kennwort|mot |mdp|contraseña|clave|senha|palavra-|wachtwoord|hasł|парол|密|口令"
    "|パス|暗証|비밀|كلمة |şifre|parola|lösenord|api|access|account|shared|secret|private|master"
    "|signing|encryption|auth|admin|service|webhook|integration|license|token|credential|cle |clé "
    "|chiave|chave|klucz|ключ|токен|令牌|トークン|シークレット|مفتاح|sig=|bearer|basic"
)
# One of these is in every name: looking for them first takes 1 us where nothing is named.
_SIGNS = (
    *("pass", "pw", "psw", "kennwort", "mdp", "contraseña", "clave", "senha", "wachtwoord"),
    *(
        "hasł",
        "парол",
        "密",
        "口令",
        "パス",
        "暗証",
        "비밀",
        "كلمة",
        "şifre",
        "lösenord",
        "parola",
        "key",
    ),
    *(
        "secret",
        "schlüssel",
        "token",
        "credential",
        "api",
        "ключ",
        "токен",
        "令牌",
        "トークン",
    ),
    *("シークレット", "مفتاح", "sig=", "bearer", "basic"),
)
_ASCII_SIGNS = tuple(sign for sign in _SIGNS if sign.isascii())
_BEGINS = re.compile(
    r"(?<![A-Za-z\u00c0-\u024f\u0400-\u04ff])|(?<=[a-z])(?=[A-Z])|(?=[\u3040-\u9fff])"
    r"|(?<=[A-Z])(?=PASSW|SECRET|TOKEN)"
)
# What a password is of, before it is said what it is: "of the router in the hall".
_OF = r"(?:[ \t][^\s:=,;.!?0-9]{1,20}){0,7}?"
_IS = (
    r"[\\]*[\"'`]?[ \t]*(?:[:=]|:=|=>|->)[ \t]*[\\]*[\"'`]?"
    r"|[ \t]{1,2}(?:is|was|lautet|ist|est|es|é|è|jest|to|-)[ \t]{1,2}[\"'`]?"
    r"|[ \t]?(?:は|是|为|為)[ \t:]?[「\"'`]?|[\"'][ \t]*,[ \t]*[\"']|[ \t]+[\"'`]"
    # In a form that was copied, the value stands below its name.
    r"|(?:[ \t]++|[ \t]*+[:=]?[ \t]*+\n[ \t]*+)"
    r"(?=\S*[0-9]\S*[!@#$%^&*_]|\S*[!@#$%^&*_]\S*[0-9])"
)
_VALUES = {
    "password": re.compile(rf"{_OF}(?:{_IS})(?P<value>[^\s\"'`<>,;，。、」\\&|]{{4,128}})"),
    "key": re.compile(rf"(?:{_IS})(?P<value>[A-Za-z0-9_.~+/=:!@#$%^*-]{{8,}})"),
    "bearer": re.compile(r"[ \t]+(?P<value>[A-Za-z0-9+/=_.~-]{12,})"),
    "basic": re.compile(r"[ \t]+(?P<value>[A-Za-z0-9+/]{6,}={0,2})"),
}
# As JSON and programs have it in quotes, or as shells do: DB_PASSWORD=correcthorse. There a word is
# a password, too; `password=given` hands a variable on.
_QUOTED = re.compile(
    r"[\\]*[\"']?[ \t]*(?:[:=]|=>)[ \t]*[\\]*[\"'](?P<value>[^\s\"'`<>{\[$%*\\]{6,128})[\\]*[\"']"
)
_EXPORTED = re.compile(r"=(?P<value>[^\s\"'`<>{\[$%*\\&;,]{6,128})")
_SAID_OF_ONE = re.compile(
    r"string|required|optional|(?:un)?changed|forgotten|expired|hidden|redacted|invalid|incorrect"
    r"|missing|unknown|undefined",
    re.IGNORECASE,
)
# The password alone is a secret: redis://:password@host.
_LOGIN = re.compile(r"://[^\s/:@\"']*:(?P<value>[^\s/\"']+)(?=@[\w.\[-])")
# As curl and the programs of MySQL take it: `-u bob:secret`, `mysql -psecret`.
_ON_COMMAND_LINE = re.compile(
    r"\bcurl\b[^\n|;]{0,200}?[ ](?:-u|--user)[ =]*[\"']?[^\s:\"']{1,128}:(?P<user>[^\s\"']{4,})"
    r"|\bmysql\w*\b[^\n|;]{0,200}?[ ]-p(?P<value>[^\s\"']{4,})"
)
_AFTER = ".:)]}?"
_NO_WORD = re.compile(r"\d|.[!@#$%^&*+=].")
# How soon after one password another may follow, and what then looks as if it were drawn.
_SOON = 60
_TOKEN = re.compile(r"(?<![\w-])[A-Za-z0-9!@#$%^&*_-]{8,}(?![\w-])")
_CHANGE = re.compile(r"(?<=[a-z])[A-Z0-9]|(?<=[A-Z])[a-z0-9]|(?<=[0-9])[A-Za-z]")
_MIXED = 4
_CAMEL = re.compile(r"(?:[A-Z]?[a-z]+)+[0-9]?|(?:[A-Z][a-z]+)+")


def passwords_in(plain: str) -> Iterator[Find]:
    """Yield what is said to be a password or a key, and the passwords of addresses."""
    if "://" in plain and "@" in plain:
        yield from (Find(*match.span("value"), "SECRET") for match in _LOGIN.finditer(plain))
    if "curl" in plain or "mysql" in plain:
        for match in _ON_COMMAND_LINE.finditer(plain):
            yield Find(*match.span(str(match.lastgroup)), "SECRET")
    folded = small(plain)
    if not is_named(folded):
        return
    seen = 0
    for stem in _STEM.finditer(folded):
        start = stem.start()
        # What a value holds names nothing: without this a row of names would take for ever.
        if start < seen or not _BEGINS.match(plain, start):
            continue
        if (name := _NAME.match(plain, start)) and (value := _value(plain, name)):
            yield from _named(plain, *value)
            seen = value[1].end()


def _value(plain: str, name: re.Match[str]) -> tuple[str, re.Match[str]] | None:
    """Return what stands behind a name, and how it is to be judged."""
    kind = str(name.lastgroup)
    if kind == "password" and (match := _assigned(plain, name)):
        return "assigned", match
    for as_if in (kind, "bearer") if kind == "key" else (kind,):
        if match := _VALUES[as_if].match(plain, name.end()):
            return as_if, match
    return None


def _assigned(plain: str, name: re.Match[str]) -> re.Match[str] | None:
    match = _QUOTED.match(plain, name.end())
    if match is None and name[0].isupper():
        match = _EXPORTED.match(plain, name.end())
    said = match and (_SAID_OF_ONE.fullmatch(match["value"]) or _NAME.fullmatch(match["value"]))
    return None if said else match


def is_named(folded: str) -> bool:
    """Say whether a name may be in a text. Written out: `any` costs three times as much."""
    for sign in _ASCII_SIGNS if folded.isascii() else _SIGNS:  # noqa: SIM110
        if sign in folded:
            return True
    return False


def small(text: str) -> str:
    """Return a text in small letters, each in its place: the capital I with a dot would be two."""
    folded = text.lower()
    if len(folded) == len(text):
        return folded
    return "".join(c if len(c.lower()) > 1 else c.lower() for c in text)


def _named(plain: str, kind: str, match: re.Match[str]) -> Iterator[Find]:
    value = match["value"].rstrip(_AFTER)
    if kind == "assigned" or _IS_ONE[kind](value):
        start = match.start("value")
        yield Find(start, start + len(value), "SECRET")
        if kind in ("password", "assigned"):
            yield from _and_another(plain, match.end())


def _and_another(plain: str, at: int) -> Iterator[Find]:
    """Yield what looks drawn soon after a password: "... and that of the printer is ..."."""
    for match in _TOKEN.finditer(plain, at, min(len(plain), at + _SOON)):
        mixed = len(_CHANGE.findall(match[0])) >= _MIXED and not _CAMEL.fullmatch(match[0])
        named = plain.endswith(": ", 0, match.start()) and _is_key(match[0])
        if mixed or named:
            yield Find(*match.span(), "SECRET")


def _is_password(value: str) -> bool:
    """Say whether it is no word: it has a digit, or a mark inside."""
    return len(value) >= 4 and _NO_WORD.search(value) is not None and not value.startswith("[")


def _is_login(value: str) -> bool:
    """Say whether it is a name and a password as HTTP's Basic scheme sends them (RFC 7617)."""
    try:
        return b":" in base64.b64decode(value, validate=True)
    except ValueError:
        return False


def _is_key(value: str) -> bool:
    """Say whether it is no word and no plain number."""
    return (
        len(value) >= 8
        and any(map(str.isdigit, value))
        and not value.isdigit()
        and not value.startswith("[")
    )


_IS_ONE = {"password": _is_password, "key": _is_key, "bearer": _is_key, "basic": _is_login}

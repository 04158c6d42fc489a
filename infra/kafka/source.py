"""Where the jars come from: a folder, a .tgz file, or a URL; and whether that is what it claims."""

from __future__ import annotations

import hashlib
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from infra.kafka.jars import keep, listed
from shared.errors import RatchetError

SHA512 = r"(?<![0-9a-f])[0-9a-f]{128}(?![0-9a-f])"


class SourceMissing(RatchetError):
    def __init__(self, source: str) -> None:
        super().__init__(
            f"there is nothing at {source}: name an https:// address, a .tgz file or a folder"
        )


class NoArchive(RatchetError):
    def __init__(self, source: str, reason: str) -> None:
        super().__init__(
            f"{source} cannot be unpacked, it is no whole .tgz file ({reason}): fetch it again"
        )


class DigestWrong(RatchetError):
    def __init__(self, source: str) -> None:
        super().__init__(
            f"{source} is not what the SHA-512 published beside it says. Nothing was installed:"
            " fetch it again, or take it from another place with --from"
        )


def from_folder(folder: Path, libs: Path) -> None:
    """Keep the listed jars of an unpacked Kafka, or of a folder of jars."""
    inside = folder / "libs"
    keep(str(folder), files_of(inside if inside.is_dir() else folder), libs)


def files_of(folder: Path) -> Iterator[tuple[str, IO[bytes]]]:
    for name in listed():
        if (folder / name).is_file():
            with (folder / name).open("rb") as content:
                yield name, content


def from_archive(source: str, archive: Path, libs: Path) -> None:
    """Keep the listed jars of a .tgz, one by one: nothing else in it is ever written."""
    try:
        with tarfile.open(archive, "r|gz") as unpacked:
            keep(source, members_of(unpacked), libs)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise NoArchive(source, str(error) or type(error).__name__) from error


def members_of(unpacked: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in unpacked:
        content = unpacked.extractfile(member) if member.isfile() else None
        if content is not None:
            yield PurePosixPath(member.name).name, content


def check_digest(source: str, archive: Path, published: str) -> None:
    with archive.open("rb") as file:
        if hashlib.file_digest(file, "sha512").hexdigest() != published:
            raise DigestWrong(source)


def sha512_in(text: str) -> str | None:
    """Read `HEX  FILE` as sha512sum writes it, and Apache's `FILE: HEX HEX ...` over lines."""
    _, _, after = text.rpartition(":")
    for candidate in (text, re.sub(r"\s", "", after)):
        if found := re.search(SHA512, candidate, re.IGNORECASE):
            return found[0].lower()
    return None

"""Immutable, content-addressed folders and files on any fsspec URL (a local folder, S3, ...).

A folder's digest is the SHA-256 over its sorted (path, SHA-256 of file) pairs, so anyone can
recompute it with sha256sum. It becomes visible only when complete and verified: on a local disk by
one rename, elsewhere by `_COMPLETE`, written last.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import BinaryIO

import fsspec

from schemas.base import BlobRef
from shared import failpoints
from shared.errors import RatchetError
from shared.storage.files import partial_folder, promote, write_file

COMPLETE = "_COMPLETE"


class BlobCorrupt(RatchetError):
    def __init__(self, uri: str, expected: str, found: str) -> None:
        super().__init__(
            f"{uri} hashes to {found[:12]}, not to {expected[:12]}: it was changed after it was"
            " stored"
        )


class BlobMissing(RatchetError):
    status = 404

    def __init__(self, uri: str) -> None:
        super().__init__(f"nothing complete is stored at {uri}")


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    return combined(
        {path.relative_to(folder).as_posix(): file_digest(path) for path in files_in(folder)}
    )


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != COMPLETE)


def combined(digests: dict[str, str]) -> str:
    return hashlib.sha256(
        "".join(f"{path}\0{digest}\n" for path, digest in digests.items()).encode()
    ).hexdigest()


class BlobStore:
    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs, self._root = fsspec.core.url_to_fs(self.url)
        self._is_local = "file" in self._fs.protocol

    def put_folder(self, folder: Path, kind: str) -> BlobRef:
        """Store a folder as `<kind>/<digest>`; storing the same content again is free, and harmless
        at the same time.
        """
        digest = folder_digest(folder)
        ref = BlobRef(uri=f"{self.url}/{kind}/{digest}", sha256=digest)
        target = f"{self._root}/{kind}/{digest}"
        if not self._fs.exists(f"{target}/{COMPLETE}"):
            (self._place_folder if self._is_local else self._upload_folder)(folder, target, ref)
        return ref

    def get_folder(self, ref: BlobRef, destination: Path) -> Path:
        """Copy a folder here and verify its digest. Reuses a copy that is already complete; several
        may fetch it at once.
        """
        if is_whole(destination):
            return destination
        source = self._path(ref.uri)
        if not self._fs.exists(f"{source}/{COMPLETE}"):
            raise BlobMissing(ref.uri)
        with partial_folder(destination.parent, destination.name) as partial:
            self._fs.get(f"{source}/", f"{partial}/", recursive=True)
            verify(ref, folder_digest(partial))
            promote(partial, destination, is_whole)
        return destination

    def put_bytes(self, data: bytes, kind: str, suffix: str = "") -> BlobRef:
        digest = hashlib.sha256(data).hexdigest()
        path = f"{kind}/{digest}{suffix}"
        if self._is_local:
            write_file(Path(f"{self._root}/{path}"), data)
        else:  # an object appears whole, or not at all
            self._fs.makedirs(f"{self._root}/{kind}", exist_ok=True)
            self._fs.pipe_file(f"{self._root}/{path}", data)
        ref = BlobRef(uri=f"{self.url}/{path}", sha256=digest)
        self.get_bytes(ref)  # verified before anybody is told of it
        return ref

    def get_bytes(self, ref: BlobRef) -> bytes:
        try:
            data: bytes = self._fs.cat_file(self._path(ref.uri))
        except FileNotFoundError as error:
            raise BlobMissing(ref.uri) from error
        verify(ref, hashlib.sha256(data).hexdigest())
        return data

    def delete_bytes(self, uri: str) -> None:
        """Delete what `put_bytes` stored there; what is gone already stays gone."""
        try:
            self._fs.rm_file(self._path(uri))
        except FileNotFoundError:
            return

    def _place_folder(self, folder: Path, target: str, ref: BlobRef) -> None:
        """Copied beside its place, read back, renamed: a killed or full disk leaves nothing that
        could be taken for an artifact.
        """
        place = Path(target)
        with partial_folder(place.parent, place.name) as partial:
            for path in files_in(folder):
                copy = partial / path.relative_to(folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
                failpoints.reach("blob.half-written")
            verify(ref, folder_digest(partial))
            (partial / COMPLETE).write_text(ref.sha256)
            promote(partial, place, is_whole)

    def _upload_folder(self, folder: Path, target: str, ref: BlobRef) -> None:
        """Object stores have no rename: everything is uploaded and read back, then `_COMPLETE`
        makes it an artifact.
        """
        digests = {}
        for path in files_in(folder):
            name = path.relative_to(folder).as_posix()
            self._fs.makedirs(f"{target}/{name}".rsplit("/", 1)[0], exist_ok=True)
            self._fs.put_file(str(path), f"{target}/{name}")
            failpoints.reach("blob.half-written")
            with self._fs.open(f"{target}/{name}", "rb") as uploaded:
                digests[name] = stream_digest(uploaded)
        verify(ref, combined(digests))
        failpoints.reach("blob.before-promote")
        self._fs.pipe_file(f"{target}/{COMPLETE}", ref.sha256.encode())

    def _path(self, uri: str) -> str:
        """Return the path of a URI inside this store; refuse a reference to anywhere else."""
        if not uri.startswith(f"{self.url}/") or ".." in uri:
            raise BlobMissing(uri)
        return f"{self._root}/{uri.removeprefix(f'{self.url}/')}"


def is_whole(folder: Path) -> bool:
    return (folder / COMPLETE).exists()


def verify(ref: BlobRef, found: str) -> None:
    if found != ref.sha256:
        raise BlobCorrupt(ref.uri, ref.sha256, found)


def stream_digest(file: BinaryIO) -> str:
    sha = hashlib.sha256()
    while block := file.read(1 << 20):
        sha.update(block)
    return sha.hexdigest()

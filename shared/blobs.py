"""Immutable, content-addressed folders and files on any fsspec URL (a local folder, S3, ...).

A folder's digest is the SHA-256 over its sorted (path, SHA-256 of file) pairs, so anyone can recompute it with sha256sum.
It becomes visible only when complete: `_COMPLETE` is written last.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import fsspec

from schemas.base import BlobRef
from shared.errors import RatchetError

COMPLETE = "_COMPLETE"


class BlobCorrupt(RatchetError):
    def __init__(self, uri: str, expected: str, found: str) -> None:
        super().__init__(f"{uri} hashes to {found[:12]}, not to {expected[:12]}: it was changed after it was stored")


class BlobMissing(RatchetError):
    status = 404

    def __init__(self, uri: str) -> None:
        super().__init__(f"nothing complete is stored at {uri}")


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != COMPLETE)
    lines = [f"{path.relative_to(folder).as_posix()}\0{file_digest(path)}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class BlobStore:
    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs, self._root = fsspec.core.url_to_fs(self.url)

    def put_folder(self, folder: Path, kind: str) -> BlobRef:
        """Store a folder as `<kind>/<digest>`; storing the same content again is free."""
        digest = folder_digest(folder)
        target = f"{self._root}/{kind}/{digest}"
        if not self._fs.exists(f"{target}/{COMPLETE}"):
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.name != COMPLETE:
                    self._put(path, f"{target}/{path.relative_to(folder).as_posix()}")
            self._fs.pipe_file(f"{target}/{COMPLETE}", digest.encode())
        return BlobRef(uri=f"{self.url}/{kind}/{digest}", sha256=digest)

    def get_folder(self, ref: BlobRef, destination: Path) -> Path:
        """Copy a folder here and verify its digest. Reuses a copy that is already complete."""
        if (destination / COMPLETE).exists():
            return destination
        source = self._path(ref.uri)
        if not self._fs.exists(f"{source}/{COMPLETE}"):
            raise BlobMissing(ref.uri)
        partial = destination.with_name(f"{destination.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self._fs.get(f"{source}/", f"{partial}/", recursive=True)
        if (found := folder_digest(partial)) != ref.sha256:
            raise BlobCorrupt(ref.uri, ref.sha256, found)
        shutil.rmtree(destination, ignore_errors=True)
        partial.rename(destination)
        return destination

    def put_bytes(self, data: bytes, kind: str, suffix: str = "") -> BlobRef:
        digest = hashlib.sha256(data).hexdigest()
        path = f"{kind}/{digest}{suffix}"
        self._fs.makedirs(f"{self._root}/{kind}", exist_ok=True)
        self._fs.pipe_file(f"{self._root}/{path}", data)
        return BlobRef(uri=f"{self.url}/{path}", sha256=digest)

    def get_bytes(self, ref: BlobRef) -> bytes:
        try:
            data = self._fs.cat_file(self._path(ref.uri))
        except FileNotFoundError as error:
            raise BlobMissing(ref.uri) from error
        if (found := hashlib.sha256(data).hexdigest()) != ref.sha256:
            raise BlobCorrupt(ref.uri, ref.sha256, found)
        return data

    def _put(self, path: Path, target: str) -> None:
        self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        self._fs.put_file(str(path), target)

    def _path(self, uri: str) -> str:
        """The path of a URI inside this store; a reference to anywhere else is refused."""
        if not uri.startswith(f"{self.url}/") or ".." in uri:
            raise BlobMissing(uri)
        return f"{self._root}/{uri.removeprefix(f'{self.url}/')}"

"""Fetches a large file: goes on where it was cut, and gives up on a server that says nothing."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from shared.errors import RatchetError

SILENCE_SECONDS = 5.0
DIGEST_SECONDS = 15.0
# In a row without one byte in between.
TRIES = 3
# The release has about 130 MB; more than this is something else.
LARGEST = 500 * 2**20
LARGEST_DIGEST = 64 * 1024
# Called with the bytes that are here, and all of them where the server says how many.
Progress = Callable[[int, int | None], None]


class DownloadFailed(RatchetError):
    def __init__(self, url: str, reason: str, here: int) -> None:
        goes_on = f"; {here / 1e6:.0f} MB are here, and the same command goes on there"
        super().__init__(
            f"{url} cannot be fetched: {reason}{goes_on if here else ''}. Or fetch it on another"
            " machine and name the file or folder: ratchet kafka install --from FILE"
        )


def fetch(url: str, folder: Path, progress: Progress) -> Path:
    """Return the file's path in `folder`, where an earlier try may have left its beginning."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}.part"
    failures = 0
    with httpx.Client(timeout=SILENCE_SECONDS, follow_redirects=True) as client:
        while True:
            before = size_of(target)
            try:
                append(client, url, target, progress)
                return target
            # The connection was cut.
            except (httpx.RemoteProtocolError, httpx.ReadError) as error:
                failures = 0 if size_of(target) > before else failures + 1
                if failures == TRIES:
                    raise DownloadFailed(url, "it is cut again and again", before) from error
            except httpx.TimeoutException as error:
                reason = f"the server said nothing for {SILENCE_SECONDS:.0f} s"
                raise DownloadFailed(url, reason, size_of(target)) from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise DownloadFailed(url, reason_of(error), size_of(target)) from error


def append(client: httpx.Client, url: str, target: Path, progress: Progress) -> None:
    """Fetch what is missing of `target`; where the server cannot go on in the middle, all of it."""
    here = size_of(target)
    # Compression on the way would count other bytes than the file's.
    headers = {"accept-encoding": "identity"} | ({"range": f"bytes={here}-"} if here else {})
    with client.stream("GET", url, headers=headers) as response:
        # What is here is longer than the file, or all of it: its digest will tell.
        if here and response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        response.raise_for_status()
        if response.status_code != httpx.codes.PARTIAL_CONTENT:
            here = 0
        rest = response.headers.get("content-length")
        total = here + int(rest) if rest else None
        with target.open("ab" if here else "wb") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                here += len(chunk)
                if here > LARGEST:
                    raise DownloadFailed(url, f"it is larger than {LARGEST / 1e6:.0f} MB", 0)
                progress(here, total)


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def published_digest(url: str) -> str | None:
    """Return the text that is published beside a file as its SHA-512; None where none is."""
    deadline = time.monotonic() + DIGEST_SECONDS
    text = b""
    try:
        with (
            httpx.Client(timeout=SILENCE_SECONDS, follow_redirects=True) as client,
            client.stream("GET", beside(url)) as response,
        ):
            response.raise_for_status()
            for chunk in response.iter_bytes():
                text += chunk
                if len(text) > LARGEST_DIGEST or time.monotonic() > deadline:
                    return None
    except httpx.HTTPError:
        return None
    return text.decode("utf-8", "replace")


def beside(url: str) -> str:
    return re.sub(r"(?=[?#]|$)", ".sha512", url, count=1)


def reason_of(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"the server answers {error.response.status_code}"
    return f"{type(error).__name__}: {error}".rstrip(":. ")

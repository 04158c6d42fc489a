"""Files beside the datasets that show rows of them: what the report of an open contest will show,
and the verdicts that a refused build left out. They are named and left, as the reports are: the
end of the contest, and the next build, are the last that read them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from infra.operations.redaction.datasets import finds_in_file, rows_of
from infra.operations.redaction.walks import Cleaner, Unreadable, read_object
from schemas.base import BlobRef
from shared.rules import cleaned_record
from shared.storage import BlobCorrupt, BlobMissing

CONTEST, LOST = "contest", "refused build"


@dataclass(frozen=True)
class StaleFile:
    """A file that holds finds, by kind; none where it cannot be read."""

    of: str
    route: str
    uri: str
    finds: Mapping[str, int]


async def stale_files(urls: Mapping[str, str], cleaner: Cleaner) -> list[StaleFile]:
    """Return the files with finds, or that cannot be read."""
    found = []
    async for of, route, ref in files_of(urls):
        cleaner.of(route)
        try:
            finds = finds_in(of, ref, cleaner)
        except (BlobMissing, BlobCorrupt, Unreadable):
            found.append(StaleFile(of, route, ref.uri, {}))
            continue
        if finds:
            found.append(StaleFile(of, route, ref.uri, finds))
    return found


async def files_of(urls: Mapping[str, str]) -> AsyncIterator[tuple[str, str, BlobRef]]:
    """Yield what each file is, its route and where it is."""
    for route, contest in await rows_of(urls["evaluator"], "contests", "route", "contest"):
        yield CONTEST, route, BlobRef.model_validate(json.loads(contest)["content"])
    for route, refusal in await rows_of(urls["dataset-builder"], "builds", "route", "refusal"):
        if refusal and (lost := json.loads(refusal).get("lost")):
            yield LOST, route, BlobRef.model_validate(lost)


def finds_in(of: str, ref: BlobRef, cleaner: Cleaner) -> Mapping[str, int]:
    blobs = cleaner.contents.blobs
    if of == LOST:
        return finds_in_file(blobs, ref, cleaner)
    content = read_object(blobs.get_bytes(ref))
    cleaner.finds.clear()
    cleaned_record(content, cleaner.redact)
    return dict(cleaner.finds)

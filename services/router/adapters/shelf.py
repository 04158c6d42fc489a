"""Adapters on this machine's disk, one folder per digest: vLLM loads from here and from nowhere
else.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from schemas.base import AdapterRef
from services.router.bundle import inspect
from services.router.ports import AdapterUnfit
from shared.storage.blobs import BlobStore, folder_digest


class DiskShelf:
    def __init__(self, blobs: BlobStore, folder: Path) -> None:
        self.blobs = blobs
        self.folder = folder

    async def fetch(self, adapter: AdapterRef) -> Path:
        return await asyncio.to_thread(self._fetch, adapter)

    def _fetch(self, adapter: AdapterRef) -> Path:
        """The digest is verified each time, not only after the download: the cache is an ordinary
        folder.
        """
        if adapter.adapter_id.rpartition("@")[2] != adapter.blob.sha256[:12]:
            raise AdapterUnfit(
                adapter.adapter_id, f"its name does not match its digest {adapter.blob.sha256[:12]}"
            )
        folder = self.folder.resolve() / adapter.blob.sha256
        if folder.exists() and folder_digest(folder) != adapter.blob.sha256:
            shutil.rmtree(folder)
        inspect(adapter.adapter_id, self.blobs.get_folder(adapter.blob, folder))
        return folder

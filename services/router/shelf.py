"""Adapters on this machine's disk, one folder per digest: vLLM loads from here alone."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from schemas.base import AdapterRef
from services.router.upstream import AdapterUnfit
from shared.rules import AdapterFolderRefused, examine_adapter
from shared.storage import BlobStore, folder_digest


class Shelf:
    def __init__(self, blobs: BlobStore, folder: Path) -> None:
        self.blobs = blobs
        self.folder = folder

    async def fetch(self, adapter: AdapterRef) -> Path:
        """Return the adapter's folder, complete and examined. Raises AdapterUnfit."""
        return await asyncio.to_thread(self._fetch, adapter)

    def _fetch(self, adapter: AdapterRef) -> Path:
        """Fetch and examine an adapter, blocking.

        The digest is verified each time, not only after the download: the cache is an ordinary
        folder, in which anybody may have written since.
        """
        digest = adapter.blob.sha256
        if adapter.adapter_id.rpartition("@")[2] != digest[:12]:
            raise AdapterUnfit(
                adapter.adapter_id, f"its name does not match its digest {digest[:12]}"
            )
        folder = self.folder.resolve() / digest
        if folder.exists() and folder_digest(folder) != digest:
            shutil.rmtree(folder)
        self.blobs.get_folder(adapter.blob, folder)
        try:
            examine_adapter(folder)
        except AdapterFolderRefused as refused:
            raise AdapterUnfit(adapter.adapter_id, str(refused)) from refused
        return folder

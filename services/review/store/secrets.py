"""The secret that signs sessions: configured, or made once and kept in the database."""

from __future__ import annotations

import secrets

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.review.store.tables import Tables
from shared.storage import Database, insert_once

NAME = "session"


class KeptSecrets:
    def __init__(self, db: Database, tables: Tables, configured: str | None) -> None:
        self.db = db
        self.table = tables.secrets
        self._known = configured

    async def session_secret(self) -> str:
        """Return the same secret in every process of this service, and after a restart."""
        if self._known is None:
            async with self.db.transaction() as tx:
                self._known = await self._kept(tx)
        return self._known

    async def _kept(self, tx: AsyncConnection) -> str:
        await insert_once(tx, self.table, {"name": NAME, "value": secrets.token_urlsafe(48)})
        kept = select(self.table.c.value).where(self.table.c.name == NAME)
        return str((await tx.execute(kept)).scalar_one())

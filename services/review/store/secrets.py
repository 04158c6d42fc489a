"""The secret that signs sessions: configured, or made once and kept in the database."""

from __future__ import annotations

import secrets

from sqlalchemy import select

from services.review.store.tables import Tables
from shared.storage.db import Database, insert_once

NAME = "session"


class KeptSecrets:
    def __init__(self, db: Database, tables: Tables, configured: str | None) -> None:
        self.db = db
        self.table = tables.secrets
        self.known = configured

    async def session_secret(self) -> str:
        if self.known is None:
            async with self.db.transaction() as tx:
                await insert_once(
                    tx, self.table, {"name": NAME, "value": secrets.token_urlsafe(48)}
                )
                self.known = (
                    await tx.execute(select(self.table.c.value).where(self.table.c.name == NAME))
                ).scalar_one()
        return self.known

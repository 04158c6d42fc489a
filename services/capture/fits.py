"""Which mapping has read a record of its topic: one that has is not to blame for those that come in
another shape.
"""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String, Table, select

from shared.clock import now
from shared.storage import Database, timestamp, upsert


class Fits:
    """Remembers the last version of each topic's mapping that fitted."""

    def __init__(self, db: Database, metadata: MetaData) -> None:
        self.db = db
        self.table = Table(
            "mapping_fits",
            metadata,
            Column("topic", String(128), primary_key=True),
            Column("version", String(32), nullable=False),
            timestamp("since", nullable=False),
        )

    async def known(self, topic: str, version: str) -> bool:
        table = self.table
        this = select(table.c.topic).where(table.c.topic == topic, table.c.version == version)
        async with self.db.read() as connection:
            return (await connection.execute(this)).first() is not None

    async def note(self, topic: str, version: str) -> None:
        async with self.db.transaction(wake=False) as tx:
            await upsert(tx, self.table, {"topic": topic, "version": version, "since": now()})

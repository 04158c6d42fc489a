"""What a service keeps: its database, and artifacts."""

from shared.storage.blobs import (
    COMPLETE,
    BlobCorrupt,
    BlobMissing,
    BlobStore,
    file_digest,
    folder_digest,
)
from shared.storage.bulk import insert_many, stored, update_many
from shared.storage.chunks import delete_in_chunks
from shared.storage.db import Database, DatabaseUnavailable, insert_once, seconds, timestamp, upsert
from shared.storage.files import private_folder
from shared.storage.group_commit import GroupCommit
from shared.storage.migrations import BASE, Migrations, RevisionUnknown

__all__ = [
    "BASE",
    "COMPLETE",
    "BlobCorrupt",
    "BlobMissing",
    "BlobStore",
    "Database",
    "DatabaseUnavailable",
    "GroupCommit",
    "Migrations",
    "RevisionUnknown",
    "delete_in_chunks",
    "file_digest",
    "folder_digest",
    "insert_many",
    "insert_once",
    "private_folder",
    "seconds",
    "stored",
    "timestamp",
    "update_many",
    "upsert",
]

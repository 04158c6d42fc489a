"""The HTTP side that all services have alike."""

from shared.http.app import create_api
from shared.http.auth import (
    Forbidden,
    Keyring,
    Principal,
    Scope,
    holder,
    keyring_of,
    new_key,
    require,
)
from shared.http.connections import connection_class
from shared.http.door import Direct
from shared.http.errors import as_response, problems_of
from shared.http.fields import (
    Id,
    Reason,
    RequestBody,
    Storable,
    Wanted,
    check_text,
    encoded_size,
    is_too_dense,
)
from shared.http.metadata import (
    MAX_METADATA,
    METADATA_CHARACTERS,
    METADATA_NAME,
    Metadata,
    printable,
    read_metadata,
)
from shared.http.paging import Limit, Offset, page

__all__ = [
    "MAX_METADATA",
    "METADATA_CHARACTERS",
    "METADATA_NAME",
    "Direct",
    "Forbidden",
    "Id",
    "Keyring",
    "Limit",
    "Metadata",
    "Offset",
    "Principal",
    "Reason",
    "RequestBody",
    "Scope",
    "Storable",
    "Wanted",
    "as_response",
    "check_text",
    "connection_class",
    "create_api",
    "encoded_size",
    "holder",
    "is_too_dense",
    "keyring_of",
    "new_key",
    "page",
    "printable",
    "problems_of",
    "read_metadata",
    "require",
]

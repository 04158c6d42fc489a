"""The HTTP side that all services have alike."""

from shared.http.app import create_api
from shared.http.auth import Forbidden, Keyring, Principal, Scope, keyring_of, new_key, require
from shared.http.paging import Limit, Offset, page

__all__ = [
    "Forbidden",
    "Keyring",
    "Limit",
    "Offset",
    "Principal",
    "Scope",
    "create_api",
    "keyring_of",
    "new_key",
    "page",
    "require",
]

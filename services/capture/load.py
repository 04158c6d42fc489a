"""What is being recorded at this moment, tenant by tenant, and how much more may be taken in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shared.errors import Retryable

# Half a second of work, shared out between the tenants that are sending.
MOST_REQUESTS = 1000
MOST_BYTES = 64 * 1024 * 1024


class Busy(Retryable):
    retry_after = 1

    def __init__(self, requests: int) -> None:
        super().__init__(
            f"{requests} requests are being recorded: nothing of this one was stored, send it again"
        )


@dataclass
class Share:
    """What one tenant has in hand."""

    requests: int = 0
    bytes: int = 0


class Load:
    """Admits requests while their tenant's share lasts.

    A tenant alone has all of it; one that comes later finds room, however full the first one made
    it, so that with n tenants up to 1 + 1/2 + ... + 1/n of the limits are in memory.
    """

    def __init__(self) -> None:
        self._shares: dict[str, Share] = {}

    @contextmanager
    def admitted(self, tenant: str, size: int, requests: int = 1) -> Iterator[None]:
        """Count a request as being recorded, or, with `requests=0`, `size` more bytes of one.

        Raises Busy at the limit: more than that would only wait, in memory, for longer than clients
        do. One body of each tenant is always admitted, however large.
        """
        share = self._shares.setdefault(tenant, Share())
        others = share.requests - (1 - requests)
        tenants = len(self._shares)
        if others >= max(1, MOST_REQUESTS // tenants) or (
            others and share.bytes + size > MOST_BYTES // tenants
        ):
            raise Busy(others)
        share.requests += requests
        share.bytes += size
        try:
            yield
        finally:
            share.requests -= requests
            share.bytes -= size
            if not share.requests:
                del self._shares[tenant]

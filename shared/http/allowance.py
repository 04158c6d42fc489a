"""What one tenant, and one key, may ask of a process: requests a second, and requests at once.

The counts live in the memory of one process: with N replicas behind a balancer a tenant gets up to
N times as much. That is enough for what they are for, that no tenant takes a process from the
others; an exact quota over all replicas would need a shared store in the path of every request.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import Counter

from shared.errors import RatchetError
from shared.http.auth import Principal
from shared.settings import ServiceSettings

REFUSED = Counter("ratchet_requests_refused_total", "Requests refused at the door", ["because"])
ANONYMOUS_PER_SECOND = 500
ANONYMOUS_AT_ONCE = 64


class TooManyRequests(RatchetError):
    """A rate is used up: a token comes back within a second."""

    status = 429
    retry_after = 1

    def __init__(self, whose: str, per_second: float) -> None:
        super().__init__(
            f"{whose} sent more than {per_second:g} requests a second to this process: wait a"
            " second and send it again"
        )


class TooManyAtOnce(RatchetError):
    """Too many of one tenant's or one key's requests are being answered."""

    status = 429
    retry_after = 1

    def __init__(self, whose: str, at_once: int) -> None:
        super().__init__(
            f"{at_once} requests of {whose} are being answered by this process: wait for some of"
            " them, then send it again"
        )


@dataclass(frozen=True)
class Allowance:
    per_second: float
    at_once: int


class Account:
    """A token bucket that holds one second's worth, and a count of requests at once."""

    __slots__ = ("_filled", "_tokens", "allowance", "running", "whose")

    def __init__(self, whose: str, allowance: Allowance, now: float) -> None:
        self.whose = whose
        self.allowance = allowance
        self.running = 0
        self._tokens = allowance.per_second
        self._filled = now

    def check(self, now: float) -> None:
        """Raise TooManyAtOnce or TooManyRequests where nothing more may be taken."""
        allowance = self.allowance
        if self.running >= allowance.at_once:
            raise TooManyAtOnce(self.whose, allowance.at_once)
        tokens = self._tokens + (now - self._filled) * allowance.per_second
        self._filled = now
        self._tokens = min(tokens, allowance.per_second)
        if self._tokens < 1:
            raise TooManyRequests(self.whose, allowance.per_second)

    def take(self) -> None:
        self._tokens -= 1
        self.running += 1


Accounts = tuple[Account, ...]


class Allowances:
    """Keeps the accounts of all who have shown a key, and one for all who have not."""

    def __init__(
        self, settings: ServiceSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tenant = Allowance(
            settings.tenant_requests_per_second, settings.tenant_requests_at_once
        )
        self._key = Allowance(settings.key_requests_per_second, settings.key_requests_at_once)
        self._clock = clock
        self._tenants: dict[str, Account] = {}
        self._keys: dict[str, Accounts] = {}
        anonymous = Allowance(ANONYMOUS_PER_SECOND, ANONYMOUS_AT_ONCE)
        self._anonymous = (Account("all who send no key", anonymous, clock()),)

    def enter(self, principal: Principal | None) -> Accounts:
        """Count a request in; give what it returns to `leave`.

        Raises TooManyAtOnce or TooManyRequests, and then counts nothing.
        """
        now = self._clock()
        accounts = self._accounts(principal, now) if principal else self._anonymous
        try:
            for account in accounts:
                account.check(now)
        except RatchetError as error:
            REFUSED.labels(error.name).inc()
            raise
        for account in accounts:
            account.take()
        return accounts

    def leave(self, accounts: Accounts) -> None:
        for account in accounts:
            account.running -= 1

    def _accounts(self, principal: Principal, now: float) -> Accounts:
        """Return the accounts of a key: as many are kept as the keys file ever had keys."""
        known = self._keys.get(principal.id)
        if known is None:
            tenant = self._tenants.setdefault(
                principal.tenant, Account(f"tenant '{principal.tenant}'", self._tenant, now)
            )
            known = (tenant, Account("this key", self._key, now))
            self._keys[principal.id] = known
        return known

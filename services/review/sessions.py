"""Who is at the page: a signed cookie that names a key, and the token every form needs (CSRF)."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from itsdangerous import BadSignature, URLSafeTimedSerializer

from services.review.store.secrets import KeptSecrets
from shared.errors import RatchetError
from shared.http import Keyring, Principal

COOKIE = "ratchet_review"


class FormExpired(RatchetError):
    status = 403

    def __init__(self) -> None:
        super().__init__(
            "this page is older than your session; load it again and repeat the last step"
        )


@dataclass(frozen=True)
class Session:
    """One visit from login to logout; without a key it is a visitor at the login form."""

    key_id: str | None = None
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    started: float = field(default_factory=time.time)

    def check(self, token: str) -> None:
        """Raise FormExpired unless a form carries the token of this session."""
        if not hmac.compare_digest(self.csrf.encode(), token.encode()):
            raise FormExpired


class Sessions:
    """Keeps sessions in cookies, signed; nothing is stored here."""

    def __init__(self, secrets: KeptSecrets, hours: float) -> None:
        self.secrets = secrets
        self.seconds = round(hours * 3600)

    async def seal(self, session: Session) -> str:
        """Return the value of the cookie."""
        return (await self._signer()).dumps(asdict(session))

    async def open(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie, nothing when it is missing, forged or too old."""
        if not cookie:
            return None
        try:
            return Session(**(await self._signer()).loads(cookie, max_age=self.seconds))
        except (BadSignature, TypeError):
            return None

    async def visitor(self, keyring: Keyring, cookies: Mapping[str, str]) -> Principal | None:
        """Return who is behind the cookies of a request, for the door."""
        session = await self.open(cookies.get(COOKIE))
        return keyring.by_id(session.key_id) if session and session.key_id else None

    async def _signer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(await self.secrets.session_secret(), salt="review-session")

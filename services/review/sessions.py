"""Who is at the page: a signed cookie that names a key, and the token without which no form is
accepted (CSRF).
"""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import asdict, dataclass, field

from itsdangerous import BadSignature, URLSafeTimedSerializer

from services.review.ports import Secrets
from shared.errors import RatchetError

COOKIE = "ratchet_review"


class FormExpired(RatchetError):
    status = 403

    def __init__(self) -> None:
        super().__init__(
            "this page is older than your session; load it again and repeat the last step"
        )


@dataclass(frozen=True)
class Session:
    """Without a key it is a visitor at the login form."""

    key_id: str | None = None
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    started: float = field(default_factory=time.time)

    def check(self, token: str) -> None:
        if not hmac.compare_digest(self.csrf.encode(), token.encode()):
            raise FormExpired


class Sessions:
    def __init__(self, keep: Secrets, hours: float) -> None:
        self.keep = keep
        self.seconds = round(hours * 3600)

    async def seal(self, session: Session) -> str:
        return (await self._signer()).dumps(asdict(session))

    async def open(self, cookie: str | None) -> Session | None:
        if not cookie:
            return None
        try:
            return Session(**(await self._signer()).loads(cookie, max_age=self.seconds))
        except (BadSignature, TypeError):
            return None

    async def _signer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(await self.keep.session_secret(), salt="review-session")

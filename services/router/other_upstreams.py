"""The upstreams beside vLLM: which of them has a model for a tenant, and how one may fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from services.router.upstream_settings import OtherUpstream
from shared.errors import RatchetError, Retryable

MOST_NAMED = 10


class OtherUpstreamAway(Retryable):
    """Nobody answered, or not in time."""

    retry_after = 2

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"the upstream '{name}' gave no answer ({why}): send the request again; if that goes"
            " on, whoever runs the router looks at its address and limits in"
            " ROUTER_UPSTREAMS_FILE"
        )


class OtherUpstreamBroke(RatchetError):
    """It began to answer, and did not end."""

    status = 502

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"the upstream '{name}' broke off in the middle of its answer ({why}): send the request"
            " again"
        )


class OtherUpstreamKeyRefused(RatchetError):
    """The key is the router's, so that a 401 would tell the app to look at its own."""

    status = 502

    def __init__(self, upstream: OtherUpstream) -> None:
        where = upstream.key_env or (upstream.key_file and "its key_file") or "a key_env"
        super().__init__(
            f"the upstream '{upstream.name}' refuses the router's key, not yours: whoever runs the"
            f" router puts a valid one into {where} and starts it again"
        )


class OtherUpstreamMoved(RatchetError):
    """Followed, a redirect would take the key along."""

    status = 502

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the upstream '{name}' sends requests elsewhere: whoever runs the router names the"
            " last address in ROUTER_UPSTREAMS_FILE"
        )


class OtherUpstreams:
    """Finds by name, then by the longest beginning of a name."""

    def __init__(self, keys: Mapping[OtherUpstream, str | None]) -> None:
        self.keys = keys
        # What came of the last request to each, for whoever looks.
        self.state: dict[str, str] = {upstream.name: "not asked yet" for upstream in keys}

    def __bool__(self) -> bool:
        return bool(self.keys)

    def of(self, tenant: str) -> Iterator[OtherUpstream]:
        """Yield those that a tenant may use."""
        return (one for one in self.keys if tenant in one.tenants or "*" in one.tenants)

    def find(self, model: str, tenant: str) -> OtherUpstream | None:
        found: OtherUpstream | None = None
        longest = -1
        for upstream in self.of(tenant):
            for pattern in upstream.models:
                if pattern == model:
                    return upstream
                if len(pattern) > longest and is_begun(model, pattern):
                    found, longest = upstream, len(pattern)
        return found

    def models(self, tenant: str) -> Iterator[tuple[str, OtherUpstream]]:
        """Yield the models that are known by their whole name."""
        for upstream in self.of(tenant):
            for pattern in upstream.models:
                if not pattern.endswith("*"):
                    yield pattern, upstream

    def named(self, tenant: str) -> list[str]:
        """Return the first models and beginnings of models that a tenant may ask for."""
        return [name for one in self.of(tenant) for name in one.models][:MOST_NAMED]


def is_begun(model: str, pattern: str) -> bool:
    """Say whether a pattern is the beginning of a model's name.

    A name with a slash looks like a route's: one that was mistyped must not leave for somebody
    else, so that only a beginning with a slash takes it.
    """
    if not pattern.endswith("*"):
        return False
    start = pattern[:-1]
    return model.startswith(start) and ("/" not in model or "/" in start)

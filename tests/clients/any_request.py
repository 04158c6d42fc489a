"""What schemathesis checks beside "no 500": every error has the shape of who asks there.

Loaded by schemathesis in `.clients` (SCHEMATHESIS_HOOKS), which knows nothing of Ratchet.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import schemathesis

# These have the errors of all services; the rest under /v1/ has OpenAI's.
OWN = ("/v1/routes", "/v1/inferences", "/health")


@schemathesis.check
def error_in_shape(ctx: object, response: object, case: object) -> None:
    # An answer to HEAD has no body.
    if response.status_code < 400 or case.method.upper() == "HEAD":
        return
    body = response.json()
    if unquote(urlsplit(response.request.url).path).startswith(OWN):
        told = body["error"], body["detail"]
    else:
        told = body["error"]["type"], body["error"]["message"]
    if not all(isinstance(one, str) and one for one in told):
        raise AssertionError(f"an error that says nothing: {body}")
    if "x-request-id" not in {name.lower() for name in response.headers}:
        raise AssertionError("an answer without x-request-id")

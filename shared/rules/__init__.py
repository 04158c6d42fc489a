"""What several services must do alike."""

from shared.rules.adapter_folder import (
    AdapterFolderRefused,
    examine_adapter,
    examine_new_adapter,
)
from shared.rules.calibration import CLIP, p_correct
from shared.rules.completion import FREE, Bounds
from shared.rules.content import (
    ESCAPED_BYTES,
    FRAME_BYTES,
    INLINE_BYTES,
    Content,
    fits_in_event,
    read_content,
    store_content,
)
from shared.rules.messages import MOST_PARTS, ROLES, NoContent, Role, Said, read_message
from shared.rules.redaction import redact
from shared.rules.routes import RouteBook, RouteUnknown
from shared.rules.sessions import session_hash
from shared.rules.vllm import (
    Completion,
    ModelNotServed,
    NotACompletion,
    RequestRefused,
    Timeouts,
    VllmAway,
    VllmClient,
    VllmError,
    VllmFailed,
)

__all__ = [
    "CLIP",
    "ESCAPED_BYTES",
    "FRAME_BYTES",
    "FREE",
    "INLINE_BYTES",
    "MOST_PARTS",
    "ROLES",
    "AdapterFolderRefused",
    "Bounds",
    "Completion",
    "Content",
    "ModelNotServed",
    "NoContent",
    "NotACompletion",
    "RequestRefused",
    "Role",
    "RouteBook",
    "RouteUnknown",
    "Said",
    "Timeouts",
    "VllmAway",
    "VllmClient",
    "VllmError",
    "VllmFailed",
    "examine_adapter",
    "examine_new_adapter",
    "fits_in_event",
    "p_correct",
    "read_content",
    "read_message",
    "redact",
    "session_hash",
    "store_content",
]

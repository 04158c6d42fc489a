"""What several services must do alike."""

from shared.rules.adapter_folder import (
    AdapterFolderRefused,
    examine_adapter,
    examine_new_adapter,
)
from shared.rules.calibration import CLIP, p_correct
from shared.rules.cleaning import (
    cleaned,
    cleaned_answer,
    cleaned_json,
    cleaned_record,
    cleaned_tools,
    cleaned_turn,
)
from shared.rules.completion import FREE, Bounds, Sampling, as_turn
from shared.rules.content import (
    ESCAPED_BYTES,
    FRAME_BYTES,
    INLINE_BYTES,
    Content,
    characters_of,
    fits_in_event,
    read_compared,
    read_content,
    store_compared,
    store_content,
)
from shared.rules.engine_answers import Completion, as_completion
from shared.rules.event_streams import Gathered
from shared.rules.forms import (
    ANYTHING,
    RULES,
    TOO_LONG,
    Form,
    Grammar,
    form_of,
    freely,
    population,
)
from shared.rules.messages import MOST_PARTS, ROLES, NoContent, Role, Said, read_calls, read_message
from shared.rules.pairs import evidence_of_winning, mean_ratio
from shared.rules.reasoning import thought_in
from shared.rules.routes import RouteBook, RouteUnknown, chosen_in
from shared.rules.sessions import session_hash
from shared.rules.tools import Tools
from shared.rules.vllm import Patience, Timeouts, VllmClient
from shared.rules.vllm_errors import (
    ModelNotServed,
    NotACompletion,
    RequestRefused,
    VllmAway,
    VllmError,
    VllmFailed,
)

__all__ = [
    "ANYTHING",
    "CLIP",
    "ESCAPED_BYTES",
    "FRAME_BYTES",
    "FREE",
    "INLINE_BYTES",
    "MOST_PARTS",
    "ROLES",
    "RULES",
    "TOO_LONG",
    "AdapterFolderRefused",
    "Bounds",
    "Completion",
    "Content",
    "Form",
    "Gathered",
    "Grammar",
    "ModelNotServed",
    "NoContent",
    "NotACompletion",
    "Patience",
    "RequestRefused",
    "Role",
    "RouteBook",
    "RouteUnknown",
    "Said",
    "Sampling",
    "Timeouts",
    "Tools",
    "VllmAway",
    "VllmClient",
    "VllmError",
    "VllmFailed",
    "as_completion",
    "as_turn",
    "characters_of",
    "chosen_in",
    "cleaned",
    "cleaned_answer",
    "cleaned_json",
    "cleaned_record",
    "cleaned_tools",
    "cleaned_turn",
    "evidence_of_winning",
    "examine_adapter",
    "examine_new_adapter",
    "fits_in_event",
    "form_of",
    "freely",
    "mean_ratio",
    "p_correct",
    "population",
    "read_calls",
    "read_compared",
    "read_content",
    "read_message",
    "session_hash",
    "store_compared",
    "store_content",
    "thought_in",
]

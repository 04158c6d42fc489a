"""What the router is told from outside."""

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings, SurrogateSecret


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(
        env_prefix="ROUTER_",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        # Compose hands on what is not set as nothing.
        env_ignore_empty=True,
    )

    port: int = Field(8100, validation_alias=AliasChoices("PORT", "port"), ge=1, le=65535)
    vllm_url: str = Field(
        "http://127.0.0.1:8200", description="the serving vLLM; nobody else talks to it"
    )
    vllm_timeout: float = Field(60.0, gt=0, description="seconds an answer may take")
    vllm_at_once: int = Field(
        256, ge=1, description="questions to vLLM in flight; as many as it runs (--max-num-seqs)"
    )
    vllm_waiting: int = Field(
        1024, ge=1, description="requests that may wait for that, taken from each tenant in turn"
    )
    base_model: str = Field("base", description="the name vLLM serves the base model under")
    template_arguments: dict[str, bool | int | float | str] = Field(
        {},
        description="what new routes that do not say it tell the base model's chat template, as"
        " JSON; `ratchet up --base-model` finds out (docs/models.md)",
    )
    adapter_cache: Path = Field(
        Path(".ratchet/serving"), description="adapters by digest; vLLM must see the same path"
    )
    max_loaded: int = Field(
        8, ge=1, description="adapters kept in vLLM; at most its --max-cpu-loras"
    )
    upstreams_file: Path | None = Field(
        None,
        description="models of others: what is asked of them passes through (docs/gateway.md)",
    )
    otel_endpoint: str | None = Field(
        None,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT", "otel_endpoint"),
        description="where spans and metrics of OpenTelemetry go, over HTTP; unset: nowhere",
    )
    reconcile_seconds: float = Field(1.0, gt=0)
    drain_seconds: float = Field(
        5.0, ge=0, description="how long an adapter that serves no more stays loaded"
    )
    canary_share: float = Field(0.2, gt=0, le=1)
    canary_requests: int = Field(20, ge=0, description="a canary has at least so many answers ...")
    canary_seconds: float = Field(
        30.0,
        ge=0,
        description="... and lasts at least so long; then a route with `canary.quiet: promote` does"
        " not wait for the answers",
    )
    rollback_freeze_hours: float = Field(
        24.0, ge=0, le=8760, description="after a rollback, how long no adapter may challenge"
    )
    max_messages: int = Field(200, ge=1)
    max_characters: int = Field(400_000, ge=1, description="of all messages together")
    surrogate_secret: SurrogateSecret = None

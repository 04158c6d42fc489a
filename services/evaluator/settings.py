"""The evaluator's settings."""

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(
        env_prefix="EVALUATOR_", frozen=True, extra="ignore", populate_by_name=True
    )

    port: int = Field(8105, validation_alias=AliasChoices("PORT", "port"), ge=1, le=65535)
    vllm_url: str = Field(
        "http://127.0.0.1:8201/v1",
        description="the evaluator's own vLLM; never the one that serves",
    )
    vllm_api_key: str = Field("", description="sent as a bearer key where the engine asks for one")
    cache_dir: Path = Field(
        Path(".ratchet/evaluator"),
        description="datasets and adapters on this machine; vLLM must see it too",
    )
    concurrency: int = Field(16, ge=1, le=256, description="questions to vLLM in flight")
    request_timeout_seconds: float = Field(
        300.0, gt=0, description="an engine that shares its cores may be slow without being away"
    )
    error_arl: float = Field(2000.0, ge=10, description="labels on average to a false error alarm")
    accuracy_days: int = Field(
        28, ge=1, le=366, description="days of answers that live accuracy looks back on"
    )
    job_hours: float = Field(
        6.0, gt=0, description="an evaluation that ran longer, all attempts together, fails"
    )
    jobs_per_tenant: int | None = Field(
        None,
        ge=1,
        description="evaluations of one tenant at once; unset: as many as there are workers",
    )

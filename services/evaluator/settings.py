"""The evaluator's settings."""

from pathlib import Path
from typing import Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
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
    contest_days: float = Field(
        28.0,
        gt=0,
        le=366,
        description="how long people have to say whether an adapter for free text is better; at"
        " most REVIEW_KEEP_DAYS, which keeps the pairs",
    )
    judge_url: str = Field(
        "",
        description="base URL of an OpenAI-compatible API (up to /v1), whose model judges pairs of"
        " free texts beside people and promotes nothing; empty: none",
    )
    judge_model: str = Field("", description="the name of that model")
    judge_api_key: SecretStr = Field(SecretStr(""), description="sent to it as a bearer key")
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

    @model_validator(mode="after")
    def the_judge_has_a_name(self) -> Self:
        if self.judge_url and not self.judge_model:
            raise ValueError("EVALUATOR_JUDGE_URL needs EVALUATOR_JUDGE_MODEL: which model to ask")
        return self

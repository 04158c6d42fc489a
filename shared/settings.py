"""What every service is told from outside. Built once in app.py and passed down; nothing else reads
the environment.
"""

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

# Of the services that record what apps and people write.
SurrogateSecret = Annotated[
    Annotated[SecretStr, Field(min_length=16)] | None,
    BeforeValidator(lambda value: value or None),
    Field(
        validation_alias=AliasChoices("SURROGATE_SECRET", "surrogate_secret"),
        description=(
            "makes what stands for personal data on routes with `personal: surrogate`, the same for"
            " capture, review and router; unset: they redact it"
        ),
    ),
]


class ServiceSettings(BaseSettings):
    """Settings all six services share. A service adds its own with `env_prefix="<SERVICE>_"`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    kafka_bootstrap_servers: str = Field(
        "127.0.0.1:9092", validation_alias="KAFKA_BOOTSTRAP_SERVERS"
    )
    kafka_instance_id: str | None = Field(
        None,
        validation_alias="KAFKA_INSTANCE_ID",
        description="this replica's stable name: after a crash it has its partitions back at once",
    )
    kafka_kind: str = Field(
        "external",
        validation_alias="KAFKA_KIND",
        max_length=100,
        description="which event log that is, for /health/ready; 'ratchet up' says it",
    )
    database_url: str = Field(
        validation_alias="DATABASE_URL",
        description="SQLAlchemy async URL; one database per service",
    )
    outbox_keep_hours: float = Field(
        72.0,
        gt=0,
        validation_alias="OUTBOX_KEEP_HOURS",
        description="how long sent events are kept, to fill a log that lost them",
    )
    outbox_budget_bytes: int = Field(
        1024**3,
        ge=1024,
        # The second name is what capture alone had in release 0.1.
        validation_alias=AliasChoices("OUTBOX_BUDGET_BYTES", "CAPTURE_DISK_BUDGET_BYTES"),
        description=(
            "events that may wait on disk while the event log does not take them; beyond that"
            " requests get 503 and Retry-After, and nothing more is read from the log"
        ),
    )
    artifacts_url: str = Field(
        "file://.ratchet/artifacts", validation_alias="ARTIFACTS_URL", description="fsspec URL"
    )
    keys_file: Path = Field(Path(".ratchet/keys.json"), validation_alias="RATCHET_KEYS_FILE")
    host: str = Field("127.0.0.1", validation_alias="HOST")
    port: int = Field(8000, validation_alias=AliasChoices("PORT", "port"), ge=1, le=65535)
    workers: int = Field(
        1,
        ge=1,
        le=64,
        validation_alias="WORKERS",
        description="processes behind the port, a core each; a request goes to any of them",
    )
    log_format: str = Field("console", validation_alias="LOG_FORMAT", pattern="^(console|json)$")
    log_level: str = Field("INFO", validation_alias="LOG_LEVEL")
    access_log: bool = Field(
        False,
        validation_alias="ACCESS_LOG",
        description="a line for each request: who, where, status, milliseconds, no content",
    )
    max_body_bytes: int = Field(4 * 1024 * 1024, ge=1, validation_alias="MAX_BODY_BYTES")
    max_connections: int = Field(
        2000,
        ge=8,
        validation_alias="MAX_CONNECTIONS",
        description="open at once; never more than half the descriptors this process may have",
    )
    head_seconds: float = Field(
        10.0,
        gt=0,
        validation_alias="HTTP_HEAD_SECONDS",
        description="what a client has to send the head of a request",
    )
    body_seconds: float = Field(
        30.0,
        gt=0,
        validation_alias="HTTP_BODY_SECONDS",
        description="what a client has to send a body, and to take what it was answered",
    )
    keep_alive_seconds: int = Field(
        75,
        ge=1,
        validation_alias="HTTP_KEEP_ALIVE_SECONDS",
        description="how long a connection may wait for its next request: longer than balancers"
        " keep theirs (60 s), else they send into one that is being closed",
    )
    tenant_requests_per_second: float = Field(
        5000.0,
        ge=1,
        validation_alias="TENANT_REQUESTS_PER_SECOND",
        description="of one tenant, to one process; beyond it 429 and Retry-After",
    )
    tenant_requests_at_once: int = Field(
        512,
        ge=1,
        validation_alias="TENANT_REQUESTS_AT_ONCE",
        description="of one tenant, being answered by one process; beyond it 429 and Retry-After",
    )
    key_requests_per_second: float = Field(
        5000.0,
        ge=1,
        validation_alias="KEY_REQUESTS_PER_SECOND",
        description="as for a tenant, of one key",
    )
    key_requests_at_once: int = Field(
        512,
        ge=1,
        validation_alias="KEY_REQUESTS_AT_ONCE",
        description="as for a tenant, of one key",
    )

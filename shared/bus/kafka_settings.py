"""How a process reaches Apache Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.settings import Settings


class KafkaSettings(Settings):
    """Read from the environment, prefix `FREEHOLD_KAFKA_`."""

    model_config = SettingsConfigDict(env_prefix="FREEHOLD_KAFKA_")

    bootstrap: str = Field(
        default="127.0.0.1:9092",
        min_length=1,
        description="Brokers to begin with, `host:port` separated by commas. By name, not by address: what"
        " the brokers advertise is followed from there.",
    )
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="Kafka's `security.protocol`."
    )
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = Field(
        default="SCRAM-SHA-512", description="How to say who one is, with the two SASL protocols."
    )
    username: str = Field(
        default="", description="Kafka principal; each service has its own, named as the service is."
    )
    password: SecretStr = Field(default=SecretStr(""), description="Of the user; best as `…_PASSWORD_FILE`.")
    ca: Path | None = Field(
        default=None, description="Certificates (PEM) that the brokers' are checked against; none = system's."
    )
    certificate: Path | None = Field(
        default=None,
        description="Own certificate (PEM), with its key unless that has a file of its own. With `SSL` it is"
        " who one is: the brokers map its common name to the principal. Replaced files are taken over as they"
        " come.",
    )
    key: Path | None = Field(default=None, description="Private key (PEM), where it is in a file of its own.")
    prefix: str = Field(
        default="",
        pattern=r"^[a-z0-9._-]{0,100}$",
        description="Before every topic and group, where several installations share a cluster.",
    )
    replication: int = Field(
        default=1,
        ge=1,
        le=10,
        description="Copies of each partition that `freehold topics apply` asks for; three in production,"
        " where one broker may then be lost without loss of a record.",
    )

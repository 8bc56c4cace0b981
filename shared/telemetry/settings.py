"""What an operator may set about traces and logs."""

from __future__ import annotations

import socket
from importlib import metadata
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import Settings


def _version() -> str:
    try:
        return metadata.version("freehold")
    except metadata.PackageNotFoundError:
        return "unknown"


class TelemetrySettings(Settings):
    """Read from `FREEHOLD_*` of the environment. Nothing leaves the machine unless an endpoint is set."""

    model_config = SettingsConfigDict(env_prefix="FREEHOLD_")

    otlp_endpoint: str = ""
    """OTLP gRPC receiver for spans: `http://host:4317`, `https://host:4317` or `host:4317`; empty = none."""
    otlp_timeout: Annotated[float, Field(gt=0, le=60)] = 10.0
    """Seconds that one export may take."""
    otlp_queue: Annotated[int, Field(ge=1)] = 32_768
    """Spans that wait for export at most; what comes above is dropped and counted."""
    host_name: str = Field(default_factory=socket.gethostname)
    """This machine's name in traces (`host.name`); what it calls itself unless set."""
    version: str = Field(default_factory=_version)
    """Version of this software in traces (`service.version`); the installed one unless set."""
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of new traces that are recorded. A trace that came with a request keeps its own flag."""
    trace_store: Annotated[int, Field(ge=0)] = 20_000
    """Latest spans kept in this process for `freehold trace`, about 1 kB each; 0 = none."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe level that is written."""
    log_format: Literal["json", "text"] = "json"
    """`json`: one object a line; `text`: for a person at a terminal."""

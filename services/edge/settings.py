"""Settings of the edge."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field, FilePath, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from services.edge.owner.admission import Limits
from shared.settings import Settings

Seconds = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65535)]


class EdgeSettings(Settings):
    """Read from the environment, prefix `FREEHOLD_EDGE_`; both ports also as `FREEHOLD_…_PORT`."""

    model_config = SettingsConfigDict(
        env_prefix="FREEHOLD_EDGE_",
        validate_by_name=True,
        validate_by_alias=True,
    )

    http_host: str = "127.0.0.1"
    """Address that HTTP listens on."""
    http_port: Port = Field(
        default=8080, validation_alias=AliasChoices("FREEHOLD_HTTP_PORT", "FREEHOLD_EDGE_HTTP_PORT")
    )
    """Port of HTTP; 0 = any free one."""
    grpc_host: str = "127.0.0.1"
    """Address that the public gRPC API listens on."""
    grpc_port: Port = Field(
        default=8081, validation_alias=AliasChoices("FREEHOLD_GRPC_PORT", "FREEHOLD_EDGE_GRPC_PORT")
    )
    """Port of the public gRPC API; 0 = any free one."""
    grpc_reflection: bool = True
    """Whether gRPC clients with a credential may ask for the API's schema."""
    certificate: FilePath | None = None
    """Certificate (PEM) of both ports, with its key unless that has a file of its own; none = plain text,
    where a proxy in front ends TLS. Replaced files are taken over as they come."""
    key: FilePath | None = None
    """Private key (PEM), where it is in a file of its own."""
    hosts: Annotated[frozenset[str], NoDecode] = frozenset()
    """Names that `Host` may hold, without port, separated by commas in the environment; empty = any."""
    trust_traceparent: bool = False
    """Whether a client's `traceparent` is continued. Where clients are strangers, they could join their
    requests to each other's traces or force each to be sampled, so a new trace is begun."""
    metrics_for: Literal["loopback", "operator", "all"] = "loopback"
    """Who may read `/metrics`: connections from this machine, or keys with the role `operator`
    (who always may), or everybody who can connect."""

    max_connections: Annotated[int, Field(ge=1)] = 4096
    """HTTP connections at once; one more is answered 429 and closed."""
    max_body_bytes: Annotated[int, Field(ge=1024, le=4 << 20)] = 1 << 20
    """Size of a request's body; above: 413."""
    max_header_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024
    """Bytes of target and headers together; above: 431."""
    max_headers: Annotated[int, Field(ge=10)] = 100
    """Number of headers; above: 431."""
    max_pipelined: Annotated[int, Field(ge=1)] = 8
    """Requests that may wait behind the one being answered on a connection; above, none of them is
    answered and the connection is closed."""
    headers_s: Seconds = 10.0
    """From a request's first byte to the end of its headers; above: 408."""
    body_s: Seconds = 30.0
    """From the end of the headers to the end of the body; above: 408."""
    idle_s: Seconds = 75.0
    """That a connection without a request stays open."""
    stalled_s: Seconds = 60.0
    """That a client may take no byte of what waits for it; above, the connection is cut."""
    comment_s: Seconds = 15.0
    """Silence after which a stream says a comment, so that nothing between closes the connection."""
    sweep_s: Seconds = 0.5
    """How often connections and streams are looked at; time limits are exact to this."""

    default_deadline_s: Annotated[float, Field(gt=0, le=600)] = 120.0
    """Time that a request may take where its key says nothing."""
    default_max_in_flight: Annotated[int, Field(ge=1)] = 64
    """Requests of one key at once where the key says nothing."""
    max_in_flight: Annotated[int, Field(ge=1)] = 4096
    """Requests that this edge has at once, over all keys; above: 429."""
    max_in_flight_bytes: Annotated[int, Field(ge=1024)] = 64 << 20
    """Bytes of their bodies, together."""
    max_in_flight_tokens: Annotated[int, Field(ge=1024)] = 16 << 20
    """Tokens that they may cost of the workers, together: most tokens of the prompt by its bytes, and most
    output, of all choices."""
    tenant_part: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Of each of these three, what one organisation alone may take; several leave room for another by the
    same rule: each may hold `tenant_part / (1 - tenant_part)` times what is free. 1 = no such bound."""
    max_wait_s: Annotated[float, Field(ge=0)] = 0.0
    """Longest time that an interactive key's request may be expected to wait for a worker; above: 429 at
    once. 0 = half as long as answers take, at least a second. A batch key's may wait up to its deadline."""
    key_rate: Annotated[float, Field(ge=0)] = 0.0
    """Requests that a key may begin in a second, in the long run; 0 = not bounded."""
    key_burst: Annotated[int, Field(ge=1)] = 64
    """Requests that a key may begin at once after a pause, where `key_rate` bounds it."""

    lanes: Annotated[tuple[int, ...], NoDecode] = ()
    """Partitions of `replies`, `frames` and `completions` that this edge reads, separated by commas; none =
    four are claimed from control."""

    @property
    def limits(self) -> Limits:
        """What the owner admits."""
        return Limits(
            in_flight=self.max_in_flight,
            in_flight_bytes=self.max_in_flight_bytes,
            in_flight_tokens=self.max_in_flight_tokens,
            tenant_part=self.tenant_part,
            wait_s=self.max_wait_s,
            key_rate=self.key_rate,
            key_burst=self.key_burst,
        )

    @field_validator("lanes", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        return tuple(part for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        names = value.split(",") if isinstance(value, str) else value
        if isinstance(names, (list, tuple, set, frozenset)):
            return frozenset(str(name).strip().lower() for name in names if str(name).strip())
        return names

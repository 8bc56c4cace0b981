"""What the process gives to the one service that it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import grpc

from services.cli.deployed.settings import ProcessSettings
from shared.bus.topics import Topics
from shared.callers import Credentials
from shared.errors import FreeholdError, Kind
from shared.platform import Platform
from shared.rpc.channel import connect
from shared.rpc.identity import Identity
from shared.rpc.numbers import ControlNumbers, FixedNumbers, Numbers
from shared.rpc.tls_settings import RpcTlsSettings
from shared.settings import Settings

S = TypeVar("S", bound=Settings)
T = TypeVar("T")

MIN_SECRET = 32
"""Characters of a secret that the process trusts."""


class Until(Protocol):
    """Repeats a call until a fault of the bus or the database is over."""

    async def __call__(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result. Raises `BusRefused` and `DatabaseRefused`, which waiting does not mend."""


@dataclass(frozen=True)
class Given:
    """Made once, when the bus answers."""

    settings: ProcessSettings
    platform: Platform
    topics: Topics
    until: Until
    """Waits for what the service stands on."""
    on_stop: Callable[[Callable[[], Awaitable[None]]], None]
    """Called with what is to be closed after the service."""
    identity: Identity | None = None
    """Who this process is to the others; None = calls between services are plain text."""

    @property
    def token(self) -> str:
        """What this process shows the other services."""
        return tokens(self.settings)[0]

    def named(self, chosen: S) -> S:
        """A service's settings, with this replica's name as its `member` where the setting names none."""
        if "member" in chosen.model_fields_set:
            return chosen
        return chosen.model_copy(update={"member": self.settings.instance})

    def credentials(self, *tokens: str) -> Credentials:
        """Every key of the configuration, and these tokens."""
        platform = self.platform
        return Credentials(platform.configuration, peppers(self.settings), platform.host.clock, *tokens)

    def channel(self, service: str, token: str = "") -> grpc.aio.Channel:
        """To the internal gRPC of another service, one that the settings have a target of."""
        target = getattr(self.settings, f"{service}_target")
        made = connect(target, token, service=service, identity=self.identity)
        self.on_stop(made.close)
        return made

    def numbers(self, *, lanes: tuple[int, ...] = (), seats: tuple[int, ...] = ()) -> Numbers:
        """Those that a setting names, else claimed from control."""
        if lanes or seats:
            return FixedNumbers(lanes, seats)
        made = ControlNumbers(self.channel("control", self.token), self.platform.host)
        self.on_stop(made.close)
        return made


def peppers(settings: ProcessSettings) -> Mapping[int, bytes]:
    """By version. Raises `FreeholdError` NOT_READY, without the secret, where they are not of their form."""
    text = settings.pepper.get_secret_value()
    found: dict[int, bytes] = {}
    for part in text.split():
        version, equals, secret = part.partition("=")
        if not equals:
            version, secret = "1", part
        if not version.isdigit() or len(secret) < MIN_SECRET or int(version) in found:
            found.clear()
            break
        found[int(version)] = secret.encode()
    if not found:
        form = f"one secret of at least {MIN_SECRET} characters, or several as 1=OLD 2=NEW"
        raise FreeholdError(Kind.NOT_READY, f"FREEHOLD_PEPPER is to be {form}; `freehold secrets` makes one")
    return found


def identity() -> Identity | None:
    """As the environment has it. Raises `FreeholdError` NOT_READY for files that cannot be used."""
    files = RpcTlsSettings().files
    return Identity(files) if files else None


def tokens(settings: ProcessSettings) -> list[str]:
    """What is accepted, of which the first is shown. Raises `FreeholdError` NOT_READY, without the secret,
    for one that is missing or short.
    """
    found = settings.token.get_secret_value().split()
    if not found or min(map(len, found)) < MIN_SECRET:
        raise FreeholdError(
            Kind.NOT_READY,
            f"FREEHOLD_TOKEN is to have at least {MIN_SECRET} characters; `freehold secrets` makes one",
        )
    return found

"""Who calls: the owner of a credential, whatever transport brought it."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shared.clock import Clock
from shared.configuration import Configuration, hash_key
from shared.contracts.freehold.control.v1.config_pb2 import Key
from shared.errors import FreeholdError, Kind


@dataclass(frozen=True)
class Caller:
    """The owner of a credential."""

    key: str
    organisation: str
    project: str
    roles: frozenset[str] = field(default_factory=frozenset)

    @property
    def operator(self) -> bool:
        """Whether the caller runs the platform and so sees every tenant."""
        return "operator" in self.roles

    def require(self, *roles: str) -> None:
        """Raises `FreeholdError` FORBIDDEN unless the caller has one of these roles or is an operator."""
        if not self.operator and self.roles.isdisjoint(roles):
            raise FreeholdError(Kind.FORBIDDEN, f"this call needs the role {' or '.join(roles)}")


OPERATOR = Caller("operator", "", "", frozenset({"operator", "admin", "usage", "complete"}))

Authenticate = Callable[[str], Caller | None]
"""The caller of a bearer credential, or None. Raises `FreeholdError` where that cannot be told yet."""


class Credentials:
    """Knows the platform's own tokens and every key of the configuration, the latter by its hash alone.
    There are two tokens while one is replaced by the next.
    """

    def __init__(
        self, configuration: Configuration, peppers: Mapping[int, bytes], clock: Clock, *tokens: str
    ) -> None:
        if not all(peppers.values()):
            raise FreeholdError(Kind.INTERNAL, "the key pepper is empty")
        self._configuration = configuration
        self._peppers = peppers
        self._clock = clock
        self._tokens = [token.encode() for token in tokens if token]

    def __call__(self, secret: str) -> Caller | None:
        given = secret.encode()
        if any([hmac.compare_digest(given, token) for token in self._tokens]):  # noqa: C419 - all, always
            return OPERATOR
        for version, pepper in self._peppers.items():
            key = self._configuration.keys_by_hash.get(hash_key(secret, pepper))
            if key is not None and key.pepper_version == version:
                return self._caller(key)
        return None

    def _caller(self, key: Key) -> Caller | None:
        organisation = self._configuration.organisations.get(key.organisation)
        project = self._configuration.projects.get(key.project)
        if organisation is None or organisation.disabled or project is None or project.disabled:
            return None
        if key.revoked or (key.expires_ns and key.expires_ns <= self._clock.time_ns()):
            return None
        return Caller(key.id, key.organisation, key.project, frozenset(key.roles))

"""Who asks: one extractor for every header that may carry a credential, used by every route."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.edge.settings import EdgeSettings
from services.edge.submission import Principal
from shared.callers import Authenticate, Caller
from shared.configuration import Configuration
from shared.errors import FreeholdError, Kind

RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True)
class Asker:
    """A credential that was found good, and whose it is."""

    caller: Caller
    secret: str
    """To ask another service in the caller's own name."""


class Credentials:
    """Knows askers by their headers. Nothing is allowed without one; a route names the roles it needs."""

    def __init__(
        self,
        authenticate: Authenticate,
        configuration: Configuration,
        settings: EdgeSettings,
        unread: Callable[[], str] = str,
    ) -> None:
        """`unread` = why some keys may not have been read yet; empty where all have."""
        self._authenticate = authenticate
        self._configuration = configuration
        self._settings = settings
        self._unread = unread

    def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> Asker:
        """Raises `FreeholdError` UNAUTHENTICATED, the same for every credential that is not good; NOT_READY
        for one that may not have been read yet; BAD_REQUEST where two headers disagree.
        """
        secret = credential(headers)
        caller = self.authenticate(secret) if secret else None
        if caller is None:
            raise FreeholdError(Kind.UNAUTHENTICATED, "no valid API key was given")
        return Asker(caller, secret)

    def authenticate(self, secret: str) -> Caller | None:
        """Whose it is. Raises `FreeholdError` NOT_READY for one that may not have been read yet."""
        caller = self._authenticate(secret)
        if caller is None and secret and (reason := self._unread()):
            raise FreeholdError(Kind.NOT_READY, reason, retry_after=RETRY_AFTER_S)
        return caller

    def principal(self, caller: Caller) -> Principal:
        """The caller as the owner of a request. Raises `FreeholdError` FORBIDDEN without the right."""
        caller.require("complete")
        key = self._configuration.keys.get(caller.key)
        if key is None:
            raise FreeholdError(Kind.FORBIDDEN, "this credential belongs to no project")
        return Principal(
            key=caller.key,
            organisation=caller.organisation,
            project=caller.project,
            roles=caller.roles,
            deadline_s=key.deadline_ms / 1000 or self._settings.default_deadline_s,
            models=frozenset(key.models),
            max_in_flight=key.max_in_flight or self._settings.default_max_in_flight,
            priority=key.priority,
        )


def credential(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The secret in `Authorization: Bearer` or `x-api-key`; empty where there is none.

    Raises `FreeholdError` BAD_REQUEST where either comes twice or they disagree.
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in (b"authorization", b"x-api-key"):
            if name in found:
                raise FreeholdError(Kind.BAD_REQUEST, f"the header {name.decode()} is doubled")
            found[name] = value
    scheme, _, bearer = found.get(b"authorization", b"").partition(b" ")
    secret = bearer.strip() if scheme.lower() == b"bearer" else b""
    if len(found) == 2 and found[b"x-api-key"].strip() != secret:
        raise FreeholdError(Kind.BAD_REQUEST, "authorization and x-api-key disagree")
    return (secret or found.get(b"x-api-key", b"").strip()).decode("latin-1")

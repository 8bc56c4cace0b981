"""The models that a caller may use, and what is known of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.edge.credentials import RETRY_AFTER_S
from services.edge.http.body import shown
from shared.configuration import Configuration
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.platform.v1.pulse_pb2 import WorkerLoad
from shared.errors import FreeholdError, Kind

Workers = Callable[[], Iterable[WorkerLoad]]
"""Loads of the workers that are alive."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One model as one caller may have it."""

    model: config.Model
    cells: int
    """Cells of the key-value pools of all live workers that serve it, one a token."""
    live: bool
    price: config.Price | None
    """In the organisation's currency; None = not sold to it."""


class Models:
    """Reads the configuration and the workers' pulses, at every call anew."""

    def __init__(
        self, configuration: Configuration, workers: Workers, unread: Callable[[], str] = str
    ) -> None:
        """`unread` = why some models may not have been read yet; empty where all have."""
        self._configuration = configuration
        self._workers = workers
        self._unread = unread

    def resolve(self, name: str, key: str) -> config.Model:
        """The model of this name, for this key. Raises `FreeholdError` MODEL_UNKNOWN, NOT_READY for one that
        may not have been read yet.
        """
        model = self._configuration.models.get(name)
        if model is None and (reason := self._unread()):
            raise FreeholdError(Kind.NOT_READY, reason, retry_after=RETRY_AFTER_S)
        if model is None or model.disabled or not self._allowed(name, key):
            raise FreeholdError(
                Kind.MODEL_UNKNOWN, f"there is no model {shown(name)!r} for this key", param="model"
            )
        return model

    def offers(self, organisation: str, key: str) -> list[Offer]:
        """All that the key may use, by name."""
        loads = list(self._workers())
        return [
            self._offer(model, organisation, loads)
            for name, model in sorted(self._configuration.models.items())
            if not model.disabled and self._allowed(name, key)
        ]

    def offer(self, name: str, organisation: str, key: str) -> Offer:
        """One of them. Raises `FreeholdError` MODEL_UNKNOWN."""
        return self._offer(self.resolve(name, key), organisation, list(self._workers()))

    def _allowed(self, name: str, key: str) -> bool:
        found = self._configuration.keys.get(key)
        return found is None or not found.models or name in found.models

    def _offer(self, model: config.Model, organisation: str, loads: list[WorkerLoad]) -> Offer:
        serving = [
            load
            for load in loads
            if any(
                served.name == model.name and served.weights_digest == model.weights_digest
                for served in load.models
            )
        ]
        owner = self._configuration.organisations.get(organisation)
        price = self._configuration.price_of(model.name, owner.currency) if owner else None
        return Offer(model, sum(load.cells for load in serving), bool(serving), price)

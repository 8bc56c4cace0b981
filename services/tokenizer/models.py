"""The models that this process encodes for, held against the configuration."""

from __future__ import annotations

from collections.abc import Sequence

from services.tokenizer.model import ServedModel
from shared.configuration import Configuration
from shared.errors import FreeholdError, Kind
from shared.lifecycle import READY, Readiness


class Models:
    """By name. A name whose configured vocabulary is not the one loaded here is not served."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._loaded: dict[str, ServedModel] = {}

    def put(self, models: Sequence[ServedModel]) -> None:
        """What was loaded, once."""
        self._loaded = {model.name: model for model in models}

    def find(self, name: str) -> ServedModel:
        """The model of a name. Raises `FreeholdError` MODEL_UNKNOWN or NOT_READY."""
        model, configured = self._loaded.get(name), self._configuration.models.get(name)
        if configured is None or configured.disabled:
            raise FreeholdError(Kind.MODEL_UNKNOWN, "this model is not served")
        if model is None or _differs(model, configured.tokenizer_digest, configured.template_digest):
            raise FreeholdError(
                Kind.NOT_READY, f"the tokenizer has no matching vocabulary of {configured.name}"
            )
        return model

    def readiness(self) -> Readiness:
        """Ready when every enabled model of the configuration has its vocabulary here."""
        if not self._loaded:
            return Readiness(False, "vocabularies are loading")
        for name, configured in self._configuration.models.items():
            if configured.disabled:
                continue
            model = self._loaded.get(name)
            if model is None:
                return Readiness(False, f"no vocabulary is loaded for model {name}")
            if _differs(model, configured.tokenizer_digest, configured.template_digest):
                return Readiness(
                    False, f"the vocabulary or template of model {name} is not the configured one"
                )
        return READY


def _differs(model: ServedModel, tokenizer_digest: str, template_digest: str) -> bool:
    return (model.tokenizer_digest, model.template_digest) != (tokenizer_digest, template_digest)

"""From a submission to a request in flight, or the reason why not."""

from __future__ import annotations

import hashlib
from functools import partial

from services.edge.answer import Answer, Submission
from services.edge.owner.admission import Admission, Asking
from services.edge.owner.dispatching import Dispatcher
from services.edge.owner.entry import Entry
from services.edge.owner.leaving import Exits
from services.edge.owner.ready_queue import Ask
from services.edge.states.machine import Machine, Terms
from shared.configuration import Configuration
from shared.contracts.freehold.control.v1.config_pb2 import PRIORITY_BATCH, Model
from shared.contracts.freehold.edge.v1.request_pb2 import CompletionRequest
from shared.errors import FreeholdError, Kind
from shared.host import Host
from shared.ids import Ids, lane_of
from shared.models.bound import prompt_bound
from shared.pulses import Pulses

DEFAULT_SHARE = 100
RETRY_AFTER_S = 2
"""Told, half of it more or less, where somebody is missing: how long that lasts cannot be known."""
SERVICES = ("moderation", "tokenizer", "billing")
"""Without a live one of each nothing is accepted."""


class Acceptance:
    """Checks a submission against configuration, signs of life and bounds."""

    def __init__(
        self,
        host: Host,
        configuration: Configuration,
        pulses: Pulses,
        dispatcher: Dispatcher,
        admission: Admission,
        longest_s: float,
    ) -> None:
        self._random = host.random
        self._ids = Ids(host.clock, host.random)
        self._configuration = configuration
        self._pulses = pulses
        self._dispatcher = dispatcher
        self._admission = admission
        self._longest_s = longest_s
        self._missing: str | None = SERVICES[0]

    @property
    def missing(self) -> str | None:
        """A service that nothing is accepted without, and that is not alive; None where all are."""
        return self._missing

    def hear(self) -> None:
        """A pulse was heard: look again who is alive."""
        alive = self._pulses.alive
        self._missing = next((service for service in SERVICES if not alive(service)), None)

    def accept(self, submission: Submission, lanes: list[int], exits: Exits, now: float) -> Entry:
        """A request in flight, counted in. Raises `FreeholdError`."""
        principal, request = submission.principal, submission.request
        model = self._model(submission)
        if self._missing is not None:
            raise self._not_ready(f"the service {self._missing} is not alive")
        if not self._dispatcher.serving(model):
            raise self._not_ready(f"no worker for the model {model.name} is alive")
        terms = self._terms(submission, model, now)
        asking, ask = self._asking(submission, model, terms, now)
        self._admission.enter(asking, now)
        identifier = self._ids.request()
        answer = Answer(
            identifier, on_leave=partial(exits.left, identifier), on_sent=partial(exits.sent, identifier)
        )
        lane = lane_of(identifier, lanes)
        entry = Entry(identifier, submission, Machine(terms, now), model, answer, lane)
        entry.asking = asking
        self._dispatcher.expect(entry, ask)
        entry.accepted_at = now
        entry.config_offset = self._configuration.offset
        entry.policies = self._configuration.policies_of(
            principal.organisation, principal.project, principal.key
        )
        sampling = request.sampling
        entry.seed = sampling.seed if sampling.HasField("seed") else self._random.getrandbits(64)
        entry.salt = hashlib.sha256(f"{principal.organisation}\0{principal.project}".encode()).digest()
        return entry

    def _asking(self, submission: Submission, model: Model, terms: Terms, now: float) -> tuple[Asking, Ask]:
        """What the request asks of this edge and of the workers."""
        principal = submission.principal
        tokens = terms.prompt_bound + terms.max_output * terms.choices
        batch = principal.priority == PRIORITY_BATCH
        ask = Ask(principal.organisation, tokens, self._share(principal.organisation), batch)
        asking = Asking(
            key=principal.key,
            tenant=principal.organisation,
            size=submission.body_bytes,
            tokens=tokens,
            key_limit=principal.max_in_flight,
            deadline_s=terms.deadline - now,
            batch=batch,
            delay=self._dispatcher.delay(model, ask),
        )
        return asking, ask

    def _not_ready(self, message: str) -> FreeholdError:
        # Spread, so that not all of them come back in one wave.
        return FreeholdError(
            Kind.NOT_READY, message, retry_after=RETRY_AFTER_S * (0.5 + self._random.random())
        )

    def _share(self, organisation: str) -> int:
        found = self._configuration.organisations.get(organisation)
        return (found.share if found is not None else 0) or DEFAULT_SHARE

    def _model(self, submission: Submission) -> Model:
        principal, name = submission.principal, submission.request.model
        model = self._configuration.models.get(name)
        if model is None or model.disabled or (principal.models and name not in principal.models):
            raise FreeholdError(Kind.MODEL_UNKNOWN, "there is no such model for this key", param="model")
        organisation = self._configuration.organisations.get(principal.organisation)
        if organisation is None or self._configuration.price_of(name, organisation.currency) is None:
            raise FreeholdError(Kind.PRICE_MISSING, f"the model {name} has no price in your currency")
        return model

    def _terms(self, submission: Submission, model: Model, now: float) -> Terms:
        request = submission.request
        return Terms(
            request=request,
            streamed=submission.streamed,
            choices=max(1, request.choices),
            prompt_bound=bound_of(request, model),
            max_output=min(request.max_output or model.default_output, model.context),
            context=model.context,
            weights_digest=model.weights_digest,
            deadline=now + min(submission.principal.deadline_s, self._longest_s),
        )


def bound_of(request: CompletionRequest, model: Model) -> int:
    """Upper bound of the prompt's tokens, from the bytes of all text given to the template."""
    texts = [request.prompt]
    for message in request.messages:
        texts += message.parts
        texts.append(message.name)
    octets = sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
    return prompt_bound(
        model.context, model.expand, model.per_message, model.fixed, octets, len(request.messages)
    )

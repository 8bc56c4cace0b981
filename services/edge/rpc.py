"""The public gRPC API: translation only. Owner, validator and limits are HTTP's."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from typing import Any, TypeAlias

import grpc

from services.edge.answer import Answer, Outcome, Piece, Submission
from services.edge.credentials import Credentials
from services.edge.dialects.openai_answers import receipt_url
from services.edge.dialects.openai_chat import parse_chat
from services.edge.http.chat import Owner
from services.edge.models import Models
from shared.clock import Clock
from shared.contracts.freehold.api.v1 import api_pb2 as api
from shared.contracts.freehold.api.v1 import api_pb2_grpc
from shared.contracts.freehold.billing.v1.events_pb2 import Tokens
from shared.contracts.freehold.edge.v1 import request_pb2 as pb
from shared.errors import FreeholdError, Kind
from shared.rpc.auth import abort, caller
from shared.rpc.server import translated
from shared.statuses import GRPC
from shared.telemetry import semconv
from shared.telemetry.trace import Recorder, SpanKind, TraceContext, parse_traceparent

log = logging.getLogger(__name__)

Context: TypeAlias = grpc.aio.ServicerContext

FULL_NAME = "freehold.api.v1.Completions"
METHOD = f"{FULL_NAME}/Complete"
_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""What is the server's fault, so that its span has failed: the others are the client's."""


class CompletionsServicer(api_pb2_grpc.CompletionsServicer):
    """`freehold.api.v1.Completions`."""

    def __init__(
        self,
        owner: Owner,
        credentials: Credentials,
        models: Models,
        recorder: Recorder,
        clock: Clock,
        *,
        trust_traceparent: bool,
        stalled_s: float,
    ) -> None:
        """`stalled_s`: that a client may take no message of what waits for it."""
        self._owner = owner
        self._credentials = credentials
        self._models = models
        self._recorder = recorder
        self._clock = clock
        self._trust = trust_traceparent
        self._stalled_s = stalled_s

    async def Complete(self, request: api.CompleteRequest, context: Context) -> None:
        """Stream one answer."""
        parent = self._parent(context)
        trace = self._recorder.child(parent) if parent else self._recorder.root()
        begun = self._clock.time_ns()
        error: FreeholdError | None = None
        answer: Answer | None = None
        try:
            answer = self._submit(request, trace)
            await context.send_initial_metadata((("x-request-id", answer.request),))
            error = await self._stream(answer, context)
        except FreeholdError as refused:
            error = refused
        except Exception:
            log.exception("a call failed", extra={"trace": trace})
            error = FreeholdError(Kind.INTERNAL, "the call failed; the operator's log says why")
        finally:
            if answer is not None and answer.outcome is None:
                answer.leave("client_gone")
            self._record(trace, parent, begun, error, request.request.model, answer.request if answer else "")
        if error is not None:
            await abort(context, error)

    @translated
    async def ListModels(self, _: api.ListModelsRequest, __: Context) -> api.ListModelsResponse:
        asker = caller()
        offers = self._models.offers(asker.organisation, asker.key)
        return api.ListModelsResponse(
            models=[
                api.Model(
                    name=offer.model.name,
                    weights_digest=offer.model.weights_digest,
                    tokenizer_digest=offer.model.tokenizer_digest,
                    context=offer.model.context,
                    cells=offer.cells,
                    live=offer.live,
                )
                for offer in offers
            ]
        )

    async def _stream(self, answer: Answer, context: Context) -> FreeholdError | None:
        """Write the answer; the error it ended with, if any. A message: all that is ready of a choice."""
        end: Outcome | None = None
        while end is None:
            await answer.ready()
            pieces, end = answer.take(), answer.outcome
            for response in _joined(answer.request, pieces):
                await self._write(response, answer, context)
        if end.error is None:
            await self._write(_finished(answer.request, end), answer, context)
        return end.error

    async def _write(self, response: api.CompleteResponse, answer: Answer, context: Context) -> None:
        try:
            async with asyncio.timeout(self._stalled_s):
                await context.write(response)
        except TimeoutError:
            answer.leave("slow_reader")
            raise FreeholdError(Kind.CANCELLED, "the request was cancelled: slow reader") from None

    def _submit(self, request: api.CompleteRequest, trace: TraceContext) -> Answer:
        principal = self._credentials.principal(caller())
        repeat = request.idempotency_key
        if len(repeat) > 255 or not (repeat.isascii() and repeat.isprintable()):
            raise FreeholdError(
                Kind.BAD_REQUEST,
                "the key must be at most 255 visible ASCII characters",
                param="idempotency_key",
            )
        chat = parse_chat(as_chat(request.request))
        self._models.resolve(chat.request.model, principal.key)
        octets = request.request.SerializeToString(deterministic=True)
        return self._owner.submit(
            Submission(
                request=chat.request,
                principal=principal,
                fingerprint=hashlib.sha256(octets).digest(),
                body_bytes=len(octets),
                streamed=True,
                idempotency_key=repeat,
                trace=trace,
            )
        )

    def _parent(self, context: Context) -> TraceContext | None:
        if not self._trust:
            return None
        given = (value for name, value in context.invocation_metadata() or () if name == "traceparent")
        return parse_traceparent(next(given, None))

    def _record(
        self,
        trace: TraceContext,
        parent: TraceContext | None,
        begun: int,
        error: FreeholdError | None,
        model: str,
        request: str,
    ) -> None:
        status = GRPC[error.kind] if error is not None else grpc.StatusCode.OK
        attributes: list[tuple[str, str]] = [
            (semconv.RPC_RESPONSE_STATUS_CODE, status.name),
            (semconv.RPC_SYSTEM_NAME, "grpc"),
            (semconv.RPC_METHOD, METHOD),
            (semconv.GEN_AI_REQUEST_MODEL, model[:128]),
        ]
        if error is not None:
            attributes.append((semconv.ERROR_TYPE, error.code))
        self._recorder.record(
            METHOD,
            trace,
            parent,
            begun,
            self._clock.time_ns(),
            SpanKind.SERVER,
            tuple(attributes),
            error=error.code if error is not None and status in _FAULTS else None,
            request=request,
        )


def _joined(request: str, pieces: list[Piece]) -> list[api.CompleteResponse]:
    choices: dict[int, list[Piece]] = {}
    for piece in pieces:
        choices.setdefault(piece.choice, []).append(piece)
    return [
        api.CompleteResponse(
            request=request,
            choice=choice,
            text="".join(piece.text for piece in found),
            tokens=sum(piece.tokens for piece in found),
        )
        for choice, found in choices.items()
    ]


def _finished(request: str, end: Outcome) -> api.CompleteResponse:
    tokens = Tokens(
        prompt=end.prompt,
        cached=end.cached,
        chain=end.generated,
        generated=end.generated,
        delivered=end.delivered,
        billed=end.billed,
    )
    evidence = api.Evidence(
        weights_digest=end.weights_digest,
        tokenizer_digest=end.tokenizer_digest,
        policy_versions=end.policy_versions,
        verdict=end.verdict,
        price=end.price,
        currency=end.currency,
        price_version=end.price_version,
        receipt=receipt_url(request),
    )
    finished = api.Finished(reason=end.finish, tokens=tokens, evidence=evidence)
    return api.CompleteResponse(request=request, finished=finished)


def as_chat(request: pb.CompletionRequest) -> dict[str, Any]:
    """The request in the words of the HTTP API, so that one validator judges both."""
    value: dict[str, Any] = {"model": request.model, "messages": [_message(m) for m in request.messages]}
    sampling = request.sampling
    for name in ("temperature", "top_p", "top_k", "min_p", "seed", "frequency_penalty", "presence_penalty"):
        if sampling.HasField(name):
            value[name] = getattr(sampling, name)
    given: dict[str, Any] = {
        "prompt": request.prompt,
        "stop": list(request.stop),
        "max_tokens": request.max_output,
        "n": request.choices,
        "tools": [tool.name for tool in request.tools],
        "logprobs": request.logprobs,
        "top_logprobs": request.top_logprobs,
        "user": request.user,
        "metadata": dict(request.metadata),
    }
    value.update((name, content) for name, content in given.items() if content)
    if request.format.type not in (pb.Format.TYPE_UNSPECIFIED, pb.Format.TYPE_TEXT):
        value["response_format"] = {"type": request.format.type}
    return value


def _message(message: pb.Message) -> dict[str, Any]:
    value: dict[str, Any] = {
        "role": _ROLES.get(message.role, "unknown"),
        "content": [{"type": "text", "text": part} for part in message.parts],
    }
    for name in ("name", "tool_call_id", "tool_calls"):
        if content := getattr(message, name):
            value[name] = content
    return value


_ROLES = {number: name.removeprefix("ROLE_").lower() for name, number in pb.Role.items()}


def register(server: grpc.aio.Server, servicer: CompletionsServicer) -> list[str]:
    """Add it; the full names of what was added."""
    add: Callable[[Any, Any], None] = api_pb2_grpc.add_CompletionsServicer_to_server
    add(servicer, server)
    return [FULL_NAME]

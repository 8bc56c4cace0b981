from shared.contracts.freehold.billing.v1 import events_pb2 as _events_pb2
from shared.contracts.freehold.edge.v1 import request_pb2 as _request_pb2
from shared.contracts.freehold.platform.v1 import outcome_pb2 as _outcome_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CompleteRequest(_message.Message):
    __slots__ = ("request", "idempotency_key")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    request: _request_pb2.CompletionRequest
    idempotency_key: str
    def __init__(self, request: _Optional[_Union[_request_pb2.CompletionRequest, _Mapping]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class CompleteResponse(_message.Message):
    __slots__ = ("request", "choice", "text", "tokens", "finished")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    request: str
    choice: int
    text: str
    tokens: int
    finished: Finished
    def __init__(self, request: _Optional[str] = ..., choice: _Optional[int] = ..., text: _Optional[str] = ..., tokens: _Optional[int] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("reason", "tokens", "evidence")
    REASON_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    reason: _outcome_pb2.FinishReason
    tokens: _events_pb2.Tokens
    evidence: Evidence
    def __init__(self, reason: _Optional[_Union[_outcome_pb2.FinishReason, str]] = ..., tokens: _Optional[_Union[_events_pb2.Tokens, _Mapping]] = ..., evidence: _Optional[_Union[Evidence, _Mapping]] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("weights_digest", "tokenizer_digest", "policy_versions", "verdict", "price", "currency", "price_version", "receipt")
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    PRICE_VERSION_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    weights_digest: str
    tokenizer_digest: str
    policy_versions: _containers.RepeatedScalarFieldContainer[str]
    verdict: _outcome_pb2.Verdict
    price: int
    currency: str
    price_version: str
    receipt: str
    def __init__(self, weights_digest: _Optional[str] = ..., tokenizer_digest: _Optional[str] = ..., policy_versions: _Optional[_Iterable[str]] = ..., verdict: _Optional[_Union[_outcome_pb2.Verdict, str]] = ..., price: _Optional[int] = ..., currency: _Optional[str] = ..., price_version: _Optional[str] = ..., receipt: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "weights_digest", "tokenizer_digest", "context", "cells", "live")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    name: str
    weights_digest: str
    tokenizer_digest: str
    context: int
    cells: int
    live: bool
    def __init__(self, name: _Optional[str] = ..., weights_digest: _Optional[str] = ..., tokenizer_digest: _Optional[str] = ..., context: _Optional[int] = ..., cells: _Optional[int] = ..., live: _Optional[bool] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

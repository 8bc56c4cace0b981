from shared.contracts.freehold.edge.v1 import request_pb2 as _request_pb2
from shared.contracts.freehold.platform.v1 import outcome_pb2 as _outcome_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Accepted(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACCEPTED_UNSPECIFIED: _ClassVar[Accepted]
    ACCEPTED_YES: _ClassVar[Accepted]
    ACCEPTED_NO: _ClassVar[Accepted]
    ACCEPTED_UNKNOWN: _ClassVar[Accepted]
ACCEPTED_UNSPECIFIED: Accepted
ACCEPTED_YES: Accepted
ACCEPTED_NO: Accepted
ACCEPTED_UNKNOWN: Accepted

class RequestAccepted(_message.Message):
    __slots__ = ("request", "policies", "project", "key")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    request: _request_pb2.CompletionRequest
    policies: _containers.RepeatedScalarFieldContainer[str]
    project: str
    key: str
    def __init__(self, request: _Optional[_Union[_request_pb2.CompletionRequest, _Mapping]] = ..., policies: _Optional[_Iterable[str]] = ..., project: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class PromptRedacted(_message.Message):
    __slots__ = ("revision", "accepted")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    revision: int
    accepted: RequestAccepted
    def __init__(self, revision: _Optional[int] = ..., accepted: _Optional[_Union[RequestAccepted, _Mapping]] = ...) -> None: ...

class ReserveBudget(_message.Message):
    __slots__ = ("project", "key", "model", "prompt_bound", "max_output", "choices", "idempotency_key", "body_fingerprint")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_BOUND_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    BODY_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    project: str
    key: str
    model: str
    prompt_bound: int
    max_output: int
    choices: int
    idempotency_key: str
    body_fingerprint: bytes
    def __init__(self, project: _Optional[str] = ..., key: _Optional[str] = ..., model: _Optional[str] = ..., prompt_bound: _Optional[int] = ..., max_output: _Optional[int] = ..., choices: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., body_fingerprint: _Optional[bytes] = ...) -> None: ...

class Prefix(_message.Message):
    __slots__ = ("choice", "ids", "from_index")
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    FROM_INDEX_FIELD_NUMBER: _ClassVar[int]
    choice: int
    ids: _containers.RepeatedScalarFieldContainer[int]
    from_index: int
    def __init__(self, choice: _Optional[int] = ..., ids: _Optional[_Iterable[int]] = ..., from_index: _Optional[int] = ...) -> None: ...

class GenerateTokens(_message.Message):
    __slots__ = ("model", "weights_digest", "tokenizer_digest", "prompt_ids", "choices", "sampling", "seed", "stop", "format", "max_output", "policies", "window", "tenant_salt", "top_logprobs", "logprobs")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PROMPT_IDS_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    TENANT_SALT_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    model: str
    weights_digest: str
    tokenizer_digest: str
    prompt_ids: _containers.RepeatedScalarFieldContainer[int]
    choices: _containers.RepeatedCompositeFieldContainer[Prefix]
    sampling: _request_pb2.Sampling
    seed: int
    stop: _containers.RepeatedScalarFieldContainer[str]
    format: _request_pb2.Format
    max_output: int
    policies: _containers.RepeatedScalarFieldContainer[str]
    window: int
    tenant_salt: bytes
    top_logprobs: int
    logprobs: bool
    def __init__(self, model: _Optional[str] = ..., weights_digest: _Optional[str] = ..., tokenizer_digest: _Optional[str] = ..., prompt_ids: _Optional[_Iterable[int]] = ..., choices: _Optional[_Iterable[_Union[Prefix, _Mapping]]] = ..., sampling: _Optional[_Union[_request_pb2.Sampling, _Mapping]] = ..., seed: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ..., format: _Optional[_Union[_request_pb2.Format, _Mapping]] = ..., max_output: _Optional[int] = ..., policies: _Optional[_Iterable[str]] = ..., window: _Optional[int] = ..., tenant_salt: _Optional[bytes] = ..., top_logprobs: _Optional[int] = ..., logprobs: _Optional[bool] = ...) -> None: ...

class CancelGeneration(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ClosedChoice(_message.Message):
    __slots__ = ("choice", "from_index", "delivered")
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    FROM_INDEX_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    choice: int
    from_index: int
    delivered: int
    def __init__(self, choice: _Optional[int] = ..., from_index: _Optional[int] = ..., delivered: _Optional[int] = ...) -> None: ...

class ClosedAttempt(_message.Message):
    __slots__ = ("attempt", "accepted", "choices")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    accepted: Accepted
    choices: _containers.RepeatedCompositeFieldContainer[ClosedChoice]
    def __init__(self, attempt: _Optional[int] = ..., accepted: _Optional[_Union[Accepted, str]] = ..., choices: _Optional[_Iterable[_Union[ClosedChoice, _Mapping]]] = ...) -> None: ...

class RequestClosed(_message.Message):
    __slots__ = ("project", "key", "model", "state", "attempts", "input_verdict", "output_verdict", "matches", "policy_versions", "weights_digest", "tokenizer_digest", "template_digest", "request_hash", "answer_hash", "accepted_ns", "first_text_ns", "closed_ns", "finish", "kind", "code", "resumed", "streamed")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    INPUT_VERDICT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_VERDICT_FIELD_NUMBER: _ClassVar[int]
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    REQUEST_HASH_FIELD_NUMBER: _ClassVar[int]
    ANSWER_HASH_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_NS_FIELD_NUMBER: _ClassVar[int]
    FIRST_TEXT_NS_FIELD_NUMBER: _ClassVar[int]
    CLOSED_NS_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    STREAMED_FIELD_NUMBER: _ClassVar[int]
    project: str
    key: str
    model: str
    state: _outcome_pb2.TerminalState
    attempts: _containers.RepeatedCompositeFieldContainer[ClosedAttempt]
    input_verdict: _outcome_pb2.Verdict
    output_verdict: _outcome_pb2.Verdict
    matches: _containers.RepeatedCompositeFieldContainer[_outcome_pb2.RuleMatch]
    policy_versions: _containers.RepeatedScalarFieldContainer[str]
    weights_digest: str
    tokenizer_digest: str
    template_digest: str
    request_hash: bytes
    answer_hash: bytes
    accepted_ns: int
    first_text_ns: int
    closed_ns: int
    finish: _outcome_pb2.FinishReason
    kind: str
    code: str
    resumed: bool
    streamed: bool
    def __init__(self, project: _Optional[str] = ..., key: _Optional[str] = ..., model: _Optional[str] = ..., state: _Optional[_Union[_outcome_pb2.TerminalState, str]] = ..., attempts: _Optional[_Iterable[_Union[ClosedAttempt, _Mapping]]] = ..., input_verdict: _Optional[_Union[_outcome_pb2.Verdict, str]] = ..., output_verdict: _Optional[_Union[_outcome_pb2.Verdict, str]] = ..., matches: _Optional[_Iterable[_Union[_outcome_pb2.RuleMatch, _Mapping]]] = ..., policy_versions: _Optional[_Iterable[str]] = ..., weights_digest: _Optional[str] = ..., tokenizer_digest: _Optional[str] = ..., template_digest: _Optional[str] = ..., request_hash: _Optional[bytes] = ..., answer_hash: _Optional[bytes] = ..., accepted_ns: _Optional[int] = ..., first_text_ns: _Optional[int] = ..., closed_ns: _Optional[int] = ..., finish: _Optional[_Union[_outcome_pb2.FinishReason, str]] = ..., kind: _Optional[str] = ..., code: _Optional[str] = ..., resumed: _Optional[bool] = ..., streamed: _Optional[bool] = ...) -> None: ...

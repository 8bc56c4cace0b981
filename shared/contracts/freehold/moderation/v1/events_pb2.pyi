from shared.contracts.freehold.inference.v1 import frame_pb2 as _frame_pb2
from shared.contracts.freehold.platform.v1 import outcome_pb2 as _outcome_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RedactedSpan(_message.Message):
    __slots__ = ("field", "start", "end", "label")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    field: str
    start: int
    end: int
    label: str
    def __init__(self, field: _Optional[str] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., label: _Optional[str] = ...) -> None: ...

class Screened(_message.Message):
    __slots__ = ("verdict", "matches", "policy_versions", "spans", "window")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    verdict: _outcome_pb2.Verdict
    matches: _containers.RepeatedCompositeFieldContainer[_outcome_pb2.RuleMatch]
    policy_versions: _containers.RepeatedScalarFieldContainer[str]
    spans: _containers.RepeatedCompositeFieldContainer[RedactedSpan]
    window: int
    def __init__(self, verdict: _Optional[_Union[_outcome_pb2.Verdict, str]] = ..., matches: _Optional[_Iterable[_Union[_outcome_pb2.RuleMatch, _Mapping]]] = ..., policy_versions: _Optional[_Iterable[str]] = ..., spans: _Optional[_Iterable[_Union[RedactedSpan, _Mapping]]] = ..., window: _Optional[int] = ...) -> None: ...

class VettedFrame(_message.Message):
    __slots__ = ("frame", "refused", "broken", "verdicts")
    FRAME_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    BROKEN_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    frame: _frame_pb2.Frame
    refused: _containers.RepeatedCompositeFieldContainer[StreamRefused]
    broken: _containers.RepeatedCompositeFieldContainer[StreamBroken]
    verdicts: _containers.RepeatedCompositeFieldContainer[StreamVerdict]
    def __init__(self, frame: _Optional[_Union[_frame_pb2.Frame, _Mapping]] = ..., refused: _Optional[_Iterable[_Union[StreamRefused, _Mapping]]] = ..., broken: _Optional[_Iterable[_Union[StreamBroken, _Mapping]]] = ..., verdicts: _Optional[_Iterable[_Union[StreamVerdict, _Mapping]]] = ...) -> None: ...

class StreamVerdict(_message.Message):
    __slots__ = ("stream", "verdict", "matches", "policy_versions", "held_tokens", "held_ms")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    HELD_TOKENS_FIELD_NUMBER: _ClassVar[int]
    HELD_MS_FIELD_NUMBER: _ClassVar[int]
    stream: int
    verdict: _outcome_pb2.Verdict
    matches: _containers.RepeatedCompositeFieldContainer[_outcome_pb2.RuleMatch]
    policy_versions: _containers.RepeatedScalarFieldContainer[str]
    held_tokens: int
    held_ms: int
    def __init__(self, stream: _Optional[int] = ..., verdict: _Optional[_Union[_outcome_pb2.Verdict, str]] = ..., matches: _Optional[_Iterable[_Union[_outcome_pb2.RuleMatch, _Mapping]]] = ..., policy_versions: _Optional[_Iterable[str]] = ..., held_tokens: _Optional[int] = ..., held_ms: _Optional[int] = ...) -> None: ...

class StreamRefused(_message.Message):
    __slots__ = ("stream", "match", "policy_versions")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    MATCH_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    stream: int
    match: _outcome_pb2.RuleMatch
    policy_versions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, stream: _Optional[int] = ..., match: _Optional[_Union[_outcome_pb2.RuleMatch, _Mapping]] = ..., policy_versions: _Optional[_Iterable[str]] = ...) -> None: ...

class StreamBroken(_message.Message):
    __slots__ = ("stream", "reason")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    stream: int
    reason: str
    def __init__(self, stream: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

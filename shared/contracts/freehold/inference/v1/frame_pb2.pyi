from shared.contracts.freehold.platform.v1 import outcome_pb2 as _outcome_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Frame(_message.Message):
    __slots__ = ("request", "attempt", "choice", "text_stream", "text_index", "text_count", "text", "ids", "lengths", "logprobs", "opens", "ends")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    TEXT_STREAM_FIELD_NUMBER: _ClassVar[int]
    TEXT_INDEX_FIELD_NUMBER: _ClassVar[int]
    TEXT_COUNT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    OPENS_FIELD_NUMBER: _ClassVar[int]
    ENDS_FIELD_NUMBER: _ClassVar[int]
    request: _containers.RepeatedScalarFieldContainer[bytes]
    attempt: _containers.RepeatedScalarFieldContainer[int]
    choice: _containers.RepeatedScalarFieldContainer[int]
    text_stream: _containers.RepeatedScalarFieldContainer[int]
    text_index: _containers.RepeatedScalarFieldContainer[int]
    text_count: _containers.RepeatedScalarFieldContainer[int]
    text: _containers.RepeatedScalarFieldContainer[str]
    ids: _containers.RepeatedScalarFieldContainer[int]
    lengths: _containers.RepeatedScalarFieldContainer[int]
    logprobs: _containers.RepeatedScalarFieldContainer[float]
    opens: _containers.RepeatedCompositeFieldContainer[Open]
    ends: _containers.RepeatedCompositeFieldContainer[End]
    def __init__(self, request: _Optional[_Iterable[bytes]] = ..., attempt: _Optional[_Iterable[int]] = ..., choice: _Optional[_Iterable[int]] = ..., text_stream: _Optional[_Iterable[int]] = ..., text_index: _Optional[_Iterable[int]] = ..., text_count: _Optional[_Iterable[int]] = ..., text: _Optional[_Iterable[str]] = ..., ids: _Optional[_Iterable[int]] = ..., lengths: _Optional[_Iterable[int]] = ..., logprobs: _Optional[_Iterable[float]] = ..., opens: _Optional[_Iterable[_Union[Open, _Mapping]]] = ..., ends: _Optional[_Iterable[_Union[End, _Mapping]]] = ...) -> None: ...

class Open(_message.Message):
    __slots__ = ("stream", "policies", "config_offset", "next_index", "context", "window", "traceparent")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    CONFIG_OFFSET_FIELD_NUMBER: _ClassVar[int]
    NEXT_INDEX_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    stream: int
    policies: _containers.RepeatedScalarFieldContainer[str]
    config_offset: int
    next_index: int
    context: str
    window: int
    traceparent: str
    def __init__(self, stream: _Optional[int] = ..., policies: _Optional[_Iterable[str]] = ..., config_offset: _Optional[int] = ..., next_index: _Optional[int] = ..., context: _Optional[str] = ..., window: _Optional[int] = ..., traceparent: _Optional[str] = ...) -> None: ...

class End(_message.Message):
    __slots__ = ("stream", "reason", "generated", "prompt", "cached")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    GENERATED_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    stream: int
    reason: _outcome_pb2.FinishReason
    generated: int
    prompt: int
    cached: int
    def __init__(self, stream: _Optional[int] = ..., reason: _Optional[_Union[_outcome_pb2.FinishReason, str]] = ..., generated: _Optional[int] = ..., prompt: _Optional[int] = ..., cached: _Optional[int] = ...) -> None: ...

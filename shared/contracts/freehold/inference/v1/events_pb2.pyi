from shared.contracts.freehold.platform.v1 import outcome_pb2 as _outcome_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RejectReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REJECT_REASON_UNSPECIFIED: _ClassVar[RejectReason]
    REJECT_REASON_FULL: _ClassVar[RejectReason]
    REJECT_REASON_MODEL: _ClassVar[RejectReason]
    REJECT_REASON_CELLS: _ClassVar[RejectReason]

class FailReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAIL_REASON_UNSPECIFIED: _ClassVar[FailReason]
    FAIL_REASON_ENGINE: _ClassVar[FailReason]
    FAIL_REASON_DRAINING: _ClassVar[FailReason]
REJECT_REASON_UNSPECIFIED: RejectReason
REJECT_REASON_FULL: RejectReason
REJECT_REASON_MODEL: RejectReason
REJECT_REASON_CELLS: RejectReason
FAIL_REASON_UNSPECIFIED: FailReason
FAIL_REASON_ENGINE: FailReason
FAIL_REASON_DRAINING: FailReason

class WorkAccepted(_message.Message):
    __slots__ = ("weights_digest", "seat")
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SEAT_FIELD_NUMBER: _ClassVar[int]
    weights_digest: str
    seat: int
    def __init__(self, weights_digest: _Optional[str] = ..., seat: _Optional[int] = ...) -> None: ...

class WorkRejected(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: RejectReason
    def __init__(self, reason: _Optional[_Union[RejectReason, str]] = ...) -> None: ...

class WorkFailed(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: FailReason
    def __init__(self, reason: _Optional[_Union[FailReason, str]] = ...) -> None: ...

class RunningAttempt(_message.Message):
    __slots__ = ("request", "attempt", "choice", "produced", "ended")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    PRODUCED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    request: bytes
    attempt: int
    choice: int
    produced: int
    ended: bool
    def __init__(self, request: _Optional[bytes] = ..., attempt: _Optional[int] = ..., choice: _Optional[int] = ..., produced: _Optional[int] = ..., ended: _Optional[bool] = ...) -> None: ...

class Running(_message.Message):
    __slots__ = ("seat", "work_offset", "attempts")
    SEAT_FIELD_NUMBER: _ClassVar[int]
    WORK_OFFSET_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    seat: int
    work_offset: int
    attempts: _containers.RepeatedCompositeFieldContainer[RunningAttempt]
    def __init__(self, seat: _Optional[int] = ..., work_offset: _Optional[int] = ..., attempts: _Optional[_Iterable[_Union[RunningAttempt, _Mapping]]] = ...) -> None: ...

class ChoiceUsage(_message.Message):
    __slots__ = ("choice", "generated")
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    GENERATED_FIELD_NUMBER: _ClassVar[int]
    choice: int
    generated: int
    def __init__(self, choice: _Optional[int] = ..., generated: _Optional[int] = ...) -> None: ...

class UsageRecorded(_message.Message):
    __slots__ = ("attempt", "model", "weights_digest", "prompt", "cached", "choices", "reason", "energy_mj", "diagnostic")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ENERGY_MJ_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSTIC_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    model: str
    weights_digest: str
    prompt: int
    cached: int
    choices: _containers.RepeatedCompositeFieldContainer[ChoiceUsage]
    reason: _outcome_pb2.FinishReason
    energy_mj: int
    diagnostic: bool
    def __init__(self, attempt: _Optional[int] = ..., model: _Optional[str] = ..., weights_digest: _Optional[str] = ..., prompt: _Optional[int] = ..., cached: _Optional[int] = ..., choices: _Optional[_Iterable[_Union[ChoiceUsage, _Mapping]]] = ..., reason: _Optional[_Union[_outcome_pb2.FinishReason, str]] = ..., energy_mj: _Optional[int] = ..., diagnostic: _Optional[bool] = ...) -> None: ...

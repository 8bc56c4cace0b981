from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_ALLOW: _ClassVar[Verdict]
    VERDICT_FLAG: _ClassVar[Verdict]
    VERDICT_REDACT: _ClassVar[Verdict]
    VERDICT_REFUSE: _ClassVar[Verdict]

class Direction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIRECTION_UNSPECIFIED: _ClassVar[Direction]
    DIRECTION_INPUT: _ClassVar[Direction]
    DIRECTION_OUTPUT: _ClassVar[Direction]

class TerminalState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TERMINAL_STATE_UNSPECIFIED: _ClassVar[TerminalState]
    TERMINAL_STATE_COMPLETED: _ClassVar[TerminalState]
    TERMINAL_STATE_REFUSED: _ClassVar[TerminalState]
    TERMINAL_STATE_FAILED: _ClassVar[TerminalState]
    TERMINAL_STATE_CANCELLED: _ClassVar[TerminalState]
    TERMINAL_STATE_EXPIRED: _ClassVar[TerminalState]

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]
    FINISH_REASON_LENGTH: _ClassVar[FinishReason]
    FINISH_REASON_CANCELLED: _ClassVar[FinishReason]
    FINISH_REASON_FAILED: _ClassVar[FinishReason]
    FINISH_REASON_TOOL_CALLS: _ClassVar[FinishReason]

class Refuser(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFUSER_UNSPECIFIED: _ClassVar[Refuser]
    REFUSER_POLICY: _ClassVar[Refuser]
    REFUSER_TOKENIZER: _ClassVar[Refuser]
    REFUSER_BILLING: _ClassVar[Refuser]
VERDICT_UNSPECIFIED: Verdict
VERDICT_ALLOW: Verdict
VERDICT_FLAG: Verdict
VERDICT_REDACT: Verdict
VERDICT_REFUSE: Verdict
DIRECTION_UNSPECIFIED: Direction
DIRECTION_INPUT: Direction
DIRECTION_OUTPUT: Direction
TERMINAL_STATE_UNSPECIFIED: TerminalState
TERMINAL_STATE_COMPLETED: TerminalState
TERMINAL_STATE_REFUSED: TerminalState
TERMINAL_STATE_FAILED: TerminalState
TERMINAL_STATE_CANCELLED: TerminalState
TERMINAL_STATE_EXPIRED: TerminalState
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_LENGTH: FinishReason
FINISH_REASON_CANCELLED: FinishReason
FINISH_REASON_FAILED: FinishReason
FINISH_REASON_TOOL_CALLS: FinishReason
REFUSER_UNSPECIFIED: Refuser
REFUSER_POLICY: Refuser
REFUSER_TOKENIZER: Refuser
REFUSER_BILLING: Refuser

class RuleMatch(_message.Message):
    __slots__ = ("rule", "category", "policy_version", "action", "direction")
    RULE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    rule: str
    category: str
    policy_version: str
    action: Verdict
    direction: Direction
    def __init__(self, rule: _Optional[str] = ..., category: _Optional[str] = ..., policy_version: _Optional[str] = ..., action: _Optional[_Union[Verdict, str]] = ..., direction: _Optional[_Union[Direction, str]] = ...) -> None: ...

class RequestRefused(_message.Message):
    __slots__ = ("by", "kind", "code", "message", "param", "rule", "policy_versions", "first_request", "matches", "revision")
    BY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PARAM_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    FIRST_REQUEST_FIELD_NUMBER: _ClassVar[int]
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    by: Refuser
    kind: str
    code: str
    message: str
    param: str
    rule: str
    policy_versions: _containers.RepeatedScalarFieldContainer[str]
    first_request: str
    matches: _containers.RepeatedCompositeFieldContainer[RuleMatch]
    revision: int
    def __init__(self, by: _Optional[_Union[Refuser, str]] = ..., kind: _Optional[str] = ..., code: _Optional[str] = ..., message: _Optional[str] = ..., param: _Optional[str] = ..., rule: _Optional[str] = ..., policy_versions: _Optional[_Iterable[str]] = ..., first_request: _Optional[str] = ..., matches: _Optional[_Iterable[_Union[RuleMatch, _Mapping]]] = ..., revision: _Optional[int] = ...) -> None: ...

class RequestFailed(_message.Message):
    __slots__ = ("stage", "code")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    stage: str
    code: str
    def __init__(self, stage: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

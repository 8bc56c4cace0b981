from shared.contracts.freehold.moderation.v1 import events_pb2 as _events_pb2
from shared.contracts.freehold.platform.v1 import outcome_pb2 as _outcome_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClassifyRequest(_message.Message):
    __slots__ = ("text", "direction", "policies")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    text: str
    direction: _outcome_pb2.Direction
    policies: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, text: _Optional[str] = ..., direction: _Optional[_Union[_outcome_pb2.Direction, str]] = ..., policies: _Optional[_Iterable[str]] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("verdict", "matches", "policy_versions", "spans")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    verdict: _outcome_pb2.Verdict
    matches: _containers.RepeatedCompositeFieldContainer[_outcome_pb2.RuleMatch]
    policy_versions: _containers.RepeatedScalarFieldContainer[str]
    spans: _containers.RepeatedCompositeFieldContainer[_events_pb2.RedactedSpan]
    def __init__(self, verdict: _Optional[_Union[_outcome_pb2.Verdict, str]] = ..., matches: _Optional[_Iterable[_Union[_outcome_pb2.RuleMatch, _Mapping]]] = ..., policy_versions: _Optional[_Iterable[str]] = ..., spans: _Optional[_Iterable[_Union[_events_pb2.RedactedSpan, _Mapping]]] = ...) -> None: ...

class ListPoliciesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Rule(_message.Message):
    __slots__ = ("id", "category", "action", "direction", "legal_basis", "description")
    ID_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    LEGAL_BASIS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    id: str
    category: str
    action: _outcome_pb2.Verdict
    direction: _outcome_pb2.Direction
    legal_basis: str
    description: str
    def __init__(self, id: _Optional[str] = ..., category: _Optional[str] = ..., action: _Optional[_Union[_outcome_pb2.Verdict, str]] = ..., direction: _Optional[_Union[_outcome_pb2.Direction, str]] = ..., legal_basis: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("id", "version", "window", "rules")
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    id: str
    version: str
    window: int
    rules: _containers.RepeatedCompositeFieldContainer[Rule]
    def __init__(self, id: _Optional[str] = ..., version: _Optional[str] = ..., window: _Optional[int] = ..., rules: _Optional[_Iterable[_Union[Rule, _Mapping]]] = ...) -> None: ...

class ListPoliciesResponse(_message.Message):
    __slots__ = ("policies",)
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.RepeatedCompositeFieldContainer[Policy]
    def __init__(self, policies: _Optional[_Iterable[_Union[Policy, _Mapping]]] = ...) -> None: ...

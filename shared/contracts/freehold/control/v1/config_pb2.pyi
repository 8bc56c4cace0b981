from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_INTERACTIVE: _ClassVar[Priority]
    PRIORITY_BATCH: _ClassVar[Priority]

class Period(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PERIOD_UNSPECIFIED: _ClassVar[Period]
    PERIOD_NONE: _ClassVar[Period]
    PERIOD_DAY: _ClassVar[Period]
    PERIOD_MONTH: _ClassVar[Period]

class Level(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEVEL_UNSPECIFIED: _ClassVar[Level]
    LEVEL_ORGANISATION: _ClassVar[Level]
    LEVEL_PROJECT: _ClassVar[Level]
    LEVEL_KEY: _ClassVar[Level]
PRIORITY_UNSPECIFIED: Priority
PRIORITY_INTERACTIVE: Priority
PRIORITY_BATCH: Priority
PERIOD_UNSPECIFIED: Period
PERIOD_NONE: Period
PERIOD_DAY: Period
PERIOD_MONTH: Period
LEVEL_UNSPECIFIED: Level
LEVEL_ORGANISATION: Level
LEVEL_PROJECT: Level
LEVEL_KEY: Level

class Marker(_message.Message):
    __slots__ = ("epoch",)
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    def __init__(self, epoch: _Optional[int] = ...) -> None: ...

class Organisation(_message.Message):
    __slots__ = ("id", "name", "time_zone", "currency", "policies", "disabled", "share")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    DISABLED_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    time_zone: str
    currency: str
    policies: _containers.RepeatedScalarFieldContainer[str]
    disabled: bool
    share: int
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., time_zone: _Optional[str] = ..., currency: _Optional[str] = ..., policies: _Optional[_Iterable[str]] = ..., disabled: _Optional[bool] = ..., share: _Optional[int] = ...) -> None: ...

class Project(_message.Message):
    __slots__ = ("id", "organisation", "name", "policies", "disabled")
    ID_FIELD_NUMBER: _ClassVar[int]
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    DISABLED_FIELD_NUMBER: _ClassVar[int]
    id: str
    organisation: str
    name: str
    policies: _containers.RepeatedScalarFieldContainer[str]
    disabled: bool
    def __init__(self, id: _Optional[str] = ..., organisation: _Optional[str] = ..., name: _Optional[str] = ..., policies: _Optional[_Iterable[str]] = ..., disabled: _Optional[bool] = ...) -> None: ...

class Key(_message.Message):
    __slots__ = ("id", "organisation", "project", "name", "hash", "pepper_version", "roles", "policies", "deadline_ms", "revoked", "expires_ns", "models", "max_in_flight", "priority")
    ID_FIELD_NUMBER: _ClassVar[int]
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    PEPPER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_NS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    MAX_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    id: str
    organisation: str
    project: str
    name: str
    hash: bytes
    pepper_version: int
    roles: _containers.RepeatedScalarFieldContainer[str]
    policies: _containers.RepeatedScalarFieldContainer[str]
    deadline_ms: int
    revoked: bool
    expires_ns: int
    models: _containers.RepeatedScalarFieldContainer[str]
    max_in_flight: int
    priority: Priority
    def __init__(self, id: _Optional[str] = ..., organisation: _Optional[str] = ..., project: _Optional[str] = ..., name: _Optional[str] = ..., hash: _Optional[bytes] = ..., pepper_version: _Optional[int] = ..., roles: _Optional[_Iterable[str]] = ..., policies: _Optional[_Iterable[str]] = ..., deadline_ms: _Optional[int] = ..., revoked: _Optional[bool] = ..., expires_ns: _Optional[int] = ..., models: _Optional[_Iterable[str]] = ..., max_in_flight: _Optional[int] = ..., priority: _Optional[_Union[Priority, str]] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("id", "pack", "version")
    ID_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    id: str
    pack: str
    version: str
    def __init__(self, id: _Optional[str] = ..., pack: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Price(_message.Message):
    __slots__ = ("model", "currency", "version", "prompt", "cached", "output")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    model: str
    currency: str
    version: str
    prompt: int
    cached: int
    output: int
    def __init__(self, model: _Optional[str] = ..., currency: _Optional[str] = ..., version: _Optional[str] = ..., prompt: _Optional[int] = ..., cached: _Optional[int] = ..., output: _Optional[int] = ...) -> None: ...

class Budget(_message.Message):
    __slots__ = ("level", "id", "organisation", "currency", "limit", "period", "removed")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    level: Level
    id: str
    organisation: str
    currency: str
    limit: int
    period: Period
    removed: bool
    def __init__(self, level: _Optional[_Union[Level, str]] = ..., id: _Optional[str] = ..., organisation: _Optional[str] = ..., currency: _Optional[str] = ..., limit: _Optional[int] = ..., period: _Optional[_Union[Period, str]] = ..., removed: _Optional[bool] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "weights_digest", "tokenizer_digest", "template_digest", "context", "default_output", "expand", "per_message", "fixed", "licence", "disabled", "created_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    EXPAND_FIELD_NUMBER: _ClassVar[int]
    PER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIXED_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    DISABLED_FIELD_NUMBER: _ClassVar[int]
    CREATED_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    weights_digest: str
    tokenizer_digest: str
    template_digest: str
    context: int
    default_output: int
    expand: int
    per_message: int
    fixed: int
    licence: str
    disabled: bool
    created_s: int
    def __init__(self, name: _Optional[str] = ..., weights_digest: _Optional[str] = ..., tokenizer_digest: _Optional[str] = ..., template_digest: _Optional[str] = ..., context: _Optional[int] = ..., default_output: _Optional[int] = ..., expand: _Optional[int] = ..., per_message: _Optional[int] = ..., fixed: _Optional[int] = ..., licence: _Optional[str] = ..., disabled: _Optional[bool] = ..., created_s: _Optional[int] = ...) -> None: ...

from shared.contracts.freehold.control.v1 import config_pb2 as _config_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NumberKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NUMBER_KIND_UNSPECIFIED: _ClassVar[NumberKind]
    NUMBER_KIND_LANE: _ClassVar[NumberKind]
    NUMBER_KIND_SEAT: _ClassVar[NumberKind]
NUMBER_KIND_UNSPECIFIED: NumberKind
NUMBER_KIND_LANE: NumberKind
NUMBER_KIND_SEAT: NumberKind

class PutOrganisationRequest(_message.Message):
    __slots__ = ("organisation", "approver")
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    APPROVER_FIELD_NUMBER: _ClassVar[int]
    organisation: _config_pb2.Organisation
    approver: str
    def __init__(self, organisation: _Optional[_Union[_config_pb2.Organisation, _Mapping]] = ..., approver: _Optional[str] = ...) -> None: ...

class PutOrganisationResponse(_message.Message):
    __slots__ = ("organisation", "version")
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    organisation: _config_pb2.Organisation
    version: int
    def __init__(self, organisation: _Optional[_Union[_config_pb2.Organisation, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class ListOrganisationsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListOrganisationsResponse(_message.Message):
    __slots__ = ("organisations",)
    ORGANISATIONS_FIELD_NUMBER: _ClassVar[int]
    organisations: _containers.RepeatedCompositeFieldContainer[_config_pb2.Organisation]
    def __init__(self, organisations: _Optional[_Iterable[_Union[_config_pb2.Organisation, _Mapping]]] = ...) -> None: ...

class PutProjectRequest(_message.Message):
    __slots__ = ("project", "approver")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    APPROVER_FIELD_NUMBER: _ClassVar[int]
    project: _config_pb2.Project
    approver: str
    def __init__(self, project: _Optional[_Union[_config_pb2.Project, _Mapping]] = ..., approver: _Optional[str] = ...) -> None: ...

class PutProjectResponse(_message.Message):
    __slots__ = ("project", "version")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    project: _config_pb2.Project
    version: int
    def __init__(self, project: _Optional[_Union[_config_pb2.Project, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class ListProjectsRequest(_message.Message):
    __slots__ = ("organisation",)
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    organisation: str
    def __init__(self, organisation: _Optional[str] = ...) -> None: ...

class ListProjectsResponse(_message.Message):
    __slots__ = ("projects",)
    PROJECTS_FIELD_NUMBER: _ClassVar[int]
    projects: _containers.RepeatedCompositeFieldContainer[_config_pb2.Project]
    def __init__(self, projects: _Optional[_Iterable[_Union[_config_pb2.Project, _Mapping]]] = ...) -> None: ...

class PutPolicyRequest(_message.Message):
    __slots__ = ("policy", "approver")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    APPROVER_FIELD_NUMBER: _ClassVar[int]
    policy: _config_pb2.Policy
    approver: str
    def __init__(self, policy: _Optional[_Union[_config_pb2.Policy, _Mapping]] = ..., approver: _Optional[str] = ...) -> None: ...

class PutPolicyResponse(_message.Message):
    __slots__ = ("policy", "version")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    policy: _config_pb2.Policy
    version: int
    def __init__(self, policy: _Optional[_Union[_config_pb2.Policy, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class ListPoliciesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPoliciesResponse(_message.Message):
    __slots__ = ("policies",)
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.RepeatedCompositeFieldContainer[_config_pb2.Policy]
    def __init__(self, policies: _Optional[_Iterable[_Union[_config_pb2.Policy, _Mapping]]] = ...) -> None: ...

class PutPriceRequest(_message.Message):
    __slots__ = ("price", "approver")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    APPROVER_FIELD_NUMBER: _ClassVar[int]
    price: _config_pb2.Price
    approver: str
    def __init__(self, price: _Optional[_Union[_config_pb2.Price, _Mapping]] = ..., approver: _Optional[str] = ...) -> None: ...

class PutPriceResponse(_message.Message):
    __slots__ = ("price", "version")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    price: _config_pb2.Price
    version: int
    def __init__(self, price: _Optional[_Union[_config_pb2.Price, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class ListPricesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPricesResponse(_message.Message):
    __slots__ = ("prices",)
    PRICES_FIELD_NUMBER: _ClassVar[int]
    prices: _containers.RepeatedCompositeFieldContainer[_config_pb2.Price]
    def __init__(self, prices: _Optional[_Iterable[_Union[_config_pb2.Price, _Mapping]]] = ...) -> None: ...

class PutBudgetRequest(_message.Message):
    __slots__ = ("budget", "approver")
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    APPROVER_FIELD_NUMBER: _ClassVar[int]
    budget: _config_pb2.Budget
    approver: str
    def __init__(self, budget: _Optional[_Union[_config_pb2.Budget, _Mapping]] = ..., approver: _Optional[str] = ...) -> None: ...

class PutBudgetResponse(_message.Message):
    __slots__ = ("budget", "version")
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    budget: _config_pb2.Budget
    version: int
    def __init__(self, budget: _Optional[_Union[_config_pb2.Budget, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class ListBudgetsRequest(_message.Message):
    __slots__ = ("organisation",)
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    organisation: str
    def __init__(self, organisation: _Optional[str] = ...) -> None: ...

class ListBudgetsResponse(_message.Message):
    __slots__ = ("budgets",)
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    budgets: _containers.RepeatedCompositeFieldContainer[_config_pb2.Budget]
    def __init__(self, budgets: _Optional[_Iterable[_Union[_config_pb2.Budget, _Mapping]]] = ...) -> None: ...

class PutModelRequest(_message.Message):
    __slots__ = ("model", "approver")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    APPROVER_FIELD_NUMBER: _ClassVar[int]
    model: _config_pb2.Model
    approver: str
    def __init__(self, model: _Optional[_Union[_config_pb2.Model, _Mapping]] = ..., approver: _Optional[str] = ...) -> None: ...

class PutModelResponse(_message.Message):
    __slots__ = ("model", "version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    model: _config_pb2.Model
    version: int
    def __init__(self, model: _Optional[_Union[_config_pb2.Model, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[_config_pb2.Model]
    def __init__(self, models: _Optional[_Iterable[_Union[_config_pb2.Model, _Mapping]]] = ...) -> None: ...

class CreateKeyRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: _config_pb2.Key
    def __init__(self, key: _Optional[_Union[_config_pb2.Key, _Mapping]] = ...) -> None: ...

class CreateKeyResponse(_message.Message):
    __slots__ = ("key", "secret")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    key: _config_pb2.Key
    secret: str
    def __init__(self, key: _Optional[_Union[_config_pb2.Key, _Mapping]] = ..., secret: _Optional[str] = ...) -> None: ...

class RevokeKeyRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RevokeKeyResponse(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: _config_pb2.Key
    def __init__(self, key: _Optional[_Union[_config_pb2.Key, _Mapping]] = ...) -> None: ...

class ListKeysRequest(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: str
    def __init__(self, project: _Optional[str] = ...) -> None: ...

class ListKeysResponse(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[_config_pb2.Key]
    def __init__(self, keys: _Optional[_Iterable[_Union[_config_pb2.Key, _Mapping]]] = ...) -> None: ...

class ClaimNumbersRequest(_message.Message):
    __slots__ = ("kind", "count", "incarnation")
    KIND_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    kind: NumberKind
    count: int
    incarnation: int
    def __init__(self, kind: _Optional[_Union[NumberKind, str]] = ..., count: _Optional[int] = ..., incarnation: _Optional[int] = ...) -> None: ...

class ClaimNumbersResponse(_message.Message):
    __slots__ = ("numbers",)
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    numbers: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, numbers: _Optional[_Iterable[int]] = ...) -> None: ...

class RepublishFactsRequest(_message.Message):
    __slots__ = ("from_seq", "to_seq")
    FROM_SEQ_FIELD_NUMBER: _ClassVar[int]
    TO_SEQ_FIELD_NUMBER: _ClassVar[int]
    from_seq: int
    to_seq: int
    def __init__(self, from_seq: _Optional[int] = ..., to_seq: _Optional[int] = ...) -> None: ...

class RepublishFactsResponse(_message.Message):
    __slots__ = ("published",)
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    published: int
    def __init__(self, published: _Optional[int] = ...) -> None: ...

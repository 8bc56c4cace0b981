from shared.contracts.freehold.edge.v1 import events_pb2 as _events_pb2
from shared.contracts.freehold.platform.v1 import outcome_pb2 as _outcome_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UnitPrices(_message.Message):
    __slots__ = ("prompt", "cached", "output")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    prompt: int
    cached: int
    output: int
    def __init__(self, prompt: _Optional[int] = ..., cached: _Optional[int] = ..., output: _Optional[int] = ...) -> None: ...

class BudgetReserved(_message.Message):
    __slots__ = ("amount", "price_version", "prices", "currency", "period", "limited")
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    PRICE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PRICES_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    LIMITED_FIELD_NUMBER: _ClassVar[int]
    amount: int
    price_version: str
    prices: UnitPrices
    currency: str
    period: str
    limited: bool
    def __init__(self, amount: _Optional[int] = ..., price_version: _Optional[str] = ..., prices: _Optional[_Union[UnitPrices, _Mapping]] = ..., currency: _Optional[str] = ..., period: _Optional[str] = ..., limited: _Optional[bool] = ...) -> None: ...

class Money(_message.Message):
    __slots__ = ("currency", "price_version", "prices", "reserved", "prompt", "cached", "output", "total", "operator_cost")
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    PRICE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PRICES_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_COST_FIELD_NUMBER: _ClassVar[int]
    currency: str
    price_version: str
    prices: UnitPrices
    reserved: int
    prompt: int
    cached: int
    output: int
    total: int
    operator_cost: int
    def __init__(self, currency: _Optional[str] = ..., price_version: _Optional[str] = ..., prices: _Optional[_Union[UnitPrices, _Mapping]] = ..., reserved: _Optional[int] = ..., prompt: _Optional[int] = ..., cached: _Optional[int] = ..., output: _Optional[int] = ..., total: _Optional[int] = ..., operator_cost: _Optional[int] = ...) -> None: ...

class Tokens(_message.Message):
    __slots__ = ("prompt", "cached", "chain", "generated", "delivered", "billed")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    GENERATED_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    BILLED_FIELD_NUMBER: _ClassVar[int]
    prompt: int
    cached: int
    chain: int
    generated: int
    delivered: int
    billed: int
    def __init__(self, prompt: _Optional[int] = ..., cached: _Optional[int] = ..., chain: _Optional[int] = ..., generated: _Optional[int] = ..., delivered: _Optional[int] = ..., billed: _Optional[int] = ...) -> None: ...

class RequestSettled(_message.Message):
    __slots__ = ("request", "organisation", "seq", "closed", "tokens", "money", "period", "usage_missing", "owner_lost", "settled_ns", "usages")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    MONEY_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    USAGE_MISSING_FIELD_NUMBER: _ClassVar[int]
    OWNER_LOST_FIELD_NUMBER: _ClassVar[int]
    SETTLED_NS_FIELD_NUMBER: _ClassVar[int]
    USAGES_FIELD_NUMBER: _ClassVar[int]
    request: str
    organisation: str
    seq: int
    closed: _events_pb2.RequestClosed
    tokens: Tokens
    money: Money
    period: str
    usage_missing: bool
    owner_lost: bool
    settled_ns: int
    usages: _containers.RepeatedCompositeFieldContainer[AttemptUsage]
    def __init__(self, request: _Optional[str] = ..., organisation: _Optional[str] = ..., seq: _Optional[int] = ..., closed: _Optional[_Union[_events_pb2.RequestClosed, _Mapping]] = ..., tokens: _Optional[_Union[Tokens, _Mapping]] = ..., money: _Optional[_Union[Money, _Mapping]] = ..., period: _Optional[str] = ..., usage_missing: _Optional[bool] = ..., owner_lost: _Optional[bool] = ..., settled_ns: _Optional[int] = ..., usages: _Optional[_Iterable[_Union[AttemptUsage, _Mapping]]] = ...) -> None: ...

class AttemptUsage(_message.Message):
    __slots__ = ("attempt", "prompt", "cached", "generated", "reason", "energy_mj")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    GENERATED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ENERGY_MJ_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    prompt: int
    cached: int
    generated: int
    reason: _outcome_pb2.FinishReason
    energy_mj: int
    def __init__(self, attempt: _Optional[int] = ..., prompt: _Optional[int] = ..., cached: _Optional[int] = ..., generated: _Optional[int] = ..., reason: _Optional[_Union[_outcome_pb2.FinishReason, str]] = ..., energy_mj: _Optional[int] = ...) -> None: ...

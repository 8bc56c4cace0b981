from shared.contracts.freehold.billing.v1 import events_pb2 as _events_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class QuoteRequest(_message.Message):
    __slots__ = ("model", "prompt", "max_output", "choices")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    model: str
    prompt: int
    max_output: int
    choices: int
    def __init__(self, model: _Optional[str] = ..., prompt: _Optional[int] = ..., max_output: _Optional[int] = ..., choices: _Optional[int] = ...) -> None: ...

class QuoteResponse(_message.Message):
    __slots__ = ("amount", "currency", "price_version", "prices")
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    PRICE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PRICES_FIELD_NUMBER: _ClassVar[int]
    amount: int
    currency: str
    price_version: str
    prices: _events_pb2.UnitPrices
    def __init__(self, amount: _Optional[int] = ..., currency: _Optional[str] = ..., price_version: _Optional[str] = ..., prices: _Optional[_Union[_events_pb2.UnitPrices, _Mapping]] = ...) -> None: ...

class GetBalanceRequest(_message.Message):
    __slots__ = ("organisation", "project", "key")
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    organisation: str
    project: str
    key: str
    def __init__(self, organisation: _Optional[str] = ..., project: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class Balance(_message.Message):
    __slots__ = ("level", "id", "currency", "period", "limit", "spent", "reserved")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    level: str
    id: str
    currency: str
    period: str
    limit: int
    spent: int
    reserved: int
    def __init__(self, level: _Optional[str] = ..., id: _Optional[str] = ..., currency: _Optional[str] = ..., period: _Optional[str] = ..., limit: _Optional[int] = ..., spent: _Optional[int] = ..., reserved: _Optional[int] = ...) -> None: ...

class GetBalanceResponse(_message.Message):
    __slots__ = ("balances",)
    BALANCES_FIELD_NUMBER: _ClassVar[int]
    balances: _containers.RepeatedCompositeFieldContainer[Balance]
    def __init__(self, balances: _Optional[_Iterable[_Union[Balance, _Mapping]]] = ...) -> None: ...

class ListEntriesRequest(_message.Message):
    __slots__ = ("organisation", "request", "limit", "before")
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    organisation: str
    request: str
    limit: int
    before: int
    def __init__(self, organisation: _Optional[str] = ..., request: _Optional[str] = ..., limit: _Optional[int] = ..., before: _Optional[int] = ...) -> None: ...

class LedgerLine(_message.Message):
    __slots__ = ("account", "amount")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    account: str
    amount: int
    def __init__(self, account: _Optional[str] = ..., amount: _Optional[int] = ...) -> None: ...

class LedgerEntry(_message.Message):
    __slots__ = ("id", "request", "organisation", "project", "currency", "lines", "generated", "delivered", "billed", "booked_ns")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    GENERATED_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    BILLED_FIELD_NUMBER: _ClassVar[int]
    BOOKED_NS_FIELD_NUMBER: _ClassVar[int]
    id: int
    request: str
    organisation: str
    project: str
    currency: str
    lines: _containers.RepeatedCompositeFieldContainer[LedgerLine]
    generated: int
    delivered: int
    billed: int
    booked_ns: int
    def __init__(self, id: _Optional[int] = ..., request: _Optional[str] = ..., organisation: _Optional[str] = ..., project: _Optional[str] = ..., currency: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[LedgerLine, _Mapping]]] = ..., generated: _Optional[int] = ..., delivered: _Optional[int] = ..., billed: _Optional[int] = ..., booked_ns: _Optional[int] = ...) -> None: ...

class ListEntriesResponse(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[LedgerEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[LedgerEntry, _Mapping]]] = ...) -> None: ...

class GetUsageRequest(_message.Message):
    __slots__ = ("organisation", "project", "from_day", "to_day", "model")
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    FROM_DAY_FIELD_NUMBER: _ClassVar[int]
    TO_DAY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    organisation: str
    project: str
    from_day: str
    to_day: str
    model: str
    def __init__(self, organisation: _Optional[str] = ..., project: _Optional[str] = ..., from_day: _Optional[str] = ..., to_day: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class UsageRow(_message.Message):
    __slots__ = ("day", "model", "currency", "requests", "prompt", "cached", "generated", "delivered", "billed", "total")
    DAY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    GENERATED_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    BILLED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    day: str
    model: str
    currency: str
    requests: int
    prompt: int
    cached: int
    generated: int
    delivered: int
    billed: int
    total: int
    def __init__(self, day: _Optional[str] = ..., model: _Optional[str] = ..., currency: _Optional[str] = ..., requests: _Optional[int] = ..., prompt: _Optional[int] = ..., cached: _Optional[int] = ..., generated: _Optional[int] = ..., delivered: _Optional[int] = ..., billed: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class GetUsageResponse(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[UsageRow]
    def __init__(self, rows: _Optional[_Iterable[_Union[UsageRow, _Mapping]]] = ...) -> None: ...

class VerifyLedgerRequest(_message.Message):
    __slots__ = ("organisation",)
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    organisation: str
    def __init__(self, organisation: _Optional[str] = ...) -> None: ...

class LedgerCheck(_message.Message):
    __slots__ = ("name", "passed", "examined", "violations")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    EXAMINED_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    passed: bool
    examined: int
    violations: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., passed: _Optional[bool] = ..., examined: _Optional[int] = ..., violations: _Optional[_Iterable[str]] = ...) -> None: ...

class VerifyLedgerResponse(_message.Message):
    __slots__ = ("checks",)
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    checks: _containers.RepeatedCompositeFieldContainer[LedgerCheck]
    def __init__(self, checks: _Optional[_Iterable[_Union[LedgerCheck, _Mapping]]] = ...) -> None: ...

class RepublishFactsRequest(_message.Message):
    __slots__ = ("organisation", "from_seq", "to_seq")
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQ_FIELD_NUMBER: _ClassVar[int]
    TO_SEQ_FIELD_NUMBER: _ClassVar[int]
    organisation: str
    from_seq: int
    to_seq: int
    def __init__(self, organisation: _Optional[str] = ..., from_seq: _Optional[int] = ..., to_seq: _Optional[int] = ...) -> None: ...

class RepublishFactsResponse(_message.Message):
    __slots__ = ("published",)
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    published: int
    def __init__(self, published: _Optional[int] = ...) -> None: ...

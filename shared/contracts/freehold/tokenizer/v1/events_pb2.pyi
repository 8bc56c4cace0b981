from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Encoded(_message.Message):
    __slots__ = ("revision", "ids", "count", "tokenizer_digest", "template_digest")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    revision: int
    ids: _containers.RepeatedScalarFieldContainer[int]
    count: int
    tokenizer_digest: str
    template_digest: str
    def __init__(self, revision: _Optional[int] = ..., ids: _Optional[_Iterable[int]] = ..., count: _Optional[int] = ..., tokenizer_digest: _Optional[str] = ..., template_digest: _Optional[str] = ...) -> None: ...

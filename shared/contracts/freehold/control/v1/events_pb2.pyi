from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ConfigurationChanged(_message.Message):
    __slots__ = ("seq", "kind", "id", "version", "who", "approver", "digest_before", "digest_after", "changed_ns", "organisation")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    APPROVER_FIELD_NUMBER: _ClassVar[int]
    DIGEST_BEFORE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_AFTER_FIELD_NUMBER: _ClassVar[int]
    CHANGED_NS_FIELD_NUMBER: _ClassVar[int]
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    seq: int
    kind: str
    id: str
    version: int
    who: str
    approver: str
    digest_before: bytes
    digest_after: bytes
    changed_ns: int
    organisation: str
    def __init__(self, seq: _Optional[int] = ..., kind: _Optional[str] = ..., id: _Optional[str] = ..., version: _Optional[int] = ..., who: _Optional[str] = ..., approver: _Optional[str] = ..., digest_before: _Optional[bytes] = ..., digest_after: _Optional[bytes] = ..., changed_ns: _Optional[int] = ..., organisation: _Optional[str] = ...) -> None: ...

"""Changes that a hostile or broken writer may make to bytes, headers and messages, by a given chance."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from shared.bus.ports import Headers

NUMBERS = (
    b"",
    b"0",
    b"1",
    b"-1",
    b"abc",
    b"63",
    b"2147483647",
    b"2147483648",
    b"4294967296",
    b"9223372036854775808",
    b"9" * 40,
    b"\xff",
)
TEXTS = (
    "",
    "\0",
    "x" * 3000,
    "../../etc/passwd",
    "'; DROP TABLE requests; --",
    "%",
    "\u202e\U0010ffff",
    "a" * 70,
)
INTEGERS = (0, 1, -1, (1 << 31) - 1, -(1 << 31), (1 << 32) - 1, (1 << 63) - 1, -(1 << 63), (1 << 64) - 1)
FLOATS = (0.0, -1.0, float("nan"), float("inf"), 1e308, 5e-324)
MOST = 8
"""Longest run of bytes that one change takes out or puts in."""


def damaged(chance: random.Random, data: bytes) -> bytes:
    """One to four changes: a byte changed, bytes cut out, doubled or put in; or the end cut off."""
    octets = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        if not octets:
            octets += chance.randbytes(MOST)
            continue
        at, run = chance.randrange(len(octets)), chance.randint(1, MOST)
        match chance.randrange(5):
            case 0:
                octets[at] = chance.randrange(256)
            case 1:
                del octets[at : at + run]
            case 2:
                octets[at:at] = octets[at : at + run]
            case 3:
                octets[at:at] = chance.randbytes(run)
            case _:
                del octets[at:]
    return bytes(octets)


def headers(chance: random.Random, given: Headers) -> Headers:
    """Up to two headers left out, made something else, or doubled.

    `config_offset` never grows: who names a configuration that does not exist is waited for by contract.
    """
    found = list(given)
    for _ in range(chance.randint(0, 2)):
        if not found:
            break
        at = chance.randrange(len(found))
        name, value = found[at]
        change = chance.randrange(4)
        if change == 0 or name == "config_offset":
            del found[at]
        elif change == 1:
            found[at] = (name, chance.choice(NUMBERS))
        elif change == 2:
            found[at] = (name, damaged(chance, value))
        else:
            found.append((name, chance.choice(NUMBERS)))
    return tuple(found)


def another_request(chance: random.Random, given: Headers) -> Headers:
    """The same headers for a request that nobody has."""
    other = str(uuid.UUID(int=chance.getrandbits(128), version=4)).encode()
    return tuple((name, other if name == "request" else value) for name, value in given)


def twisted(chance: random.Random, message: Message) -> Message:
    """A copy with one to three fields, at any depth, at the ends of what their types hold."""
    copy = type(message)()
    copy.CopyFrom(message)
    for _ in range(chance.randint(1, 3)):
        _twist(chance, copy)
    return copy


def _twist(chance: random.Random, message: Message) -> None:
    fields = message.DESCRIPTOR.fields
    if not fields:
        return
    field = chance.choice(fields)
    if _is_map(field) or field.name == "config_offset":  # see `headers`
        return
    if field.is_repeated:
        _twist_many(chance, message, field)
    elif field.message_type is not None:
        _twist(chance, getattr(message, field.name))
    else:
        _put(message, field, chance.choice(_values(field)))


def _twist_many(chance: random.Random, message: Message, field: FieldDescriptor) -> None:
    values = getattr(message, field.name)
    match chance.randrange(4):
        case 0:
            message.ClearField(field.name)
        case 1 if len(values):
            del values[chance.randrange(len(values))]
        case _ if field.message_type is not None:
            _twist(chance, chance.choice(values) if len(values) and chance.random() < 0.7 else values.add())
        case _:
            value = chance.choice(_values(field))
            try:
                values.extend([value] * chance.choice((1, 2, 300)))
            except (ValueError, UnicodeEncodeError):
                return


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _values(field: FieldDescriptor) -> Sequence[object]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return (b"", b"\0" * 16, b"\xff" * 3000)
        case FieldDescriptor.CPPTYPE_STRING:
            return TEXTS
        case FieldDescriptor.CPPTYPE_BOOL:
            return (False, True)
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return FLOATS
        case FieldDescriptor.CPPTYPE_ENUM:
            return (0, 1, 2, 99, -1)
        case _:
            return INTEGERS


def _put(message: Message, field: FieldDescriptor, value: object) -> None:
    try:
        setattr(message, field.name, value)
    except ValueError:
        return  # the type does not hold it

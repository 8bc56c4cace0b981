"""Logs with trace and request ids, without keys; prompts are never given to a logger.

A call site names ids through `extra`: `log.info("settled", extra={"request": id, "trace": context})`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TextIO

import orjson

from shared.telemetry.trace import TraceContext

_KEY = re.compile(r"fh-[A-Za-z0-9_-]{4,}")
# Everything that a terminal or a line reader could act on: C0, DEL, C1, line and paragraph
# separators, bidirectional overrides.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# `extra` may hold these and nothing else is written: a stray field cannot carry a prompt out.
_FIELDS = (
    "request",
    "tenant",
    "service",
    "topic",
    "partition",
    "offset",
    "attempt",
    "code",
    "model",
    "seconds",
)


def redact(text: str) -> str:
    """The text with whatever looks like a Freehold key cut off after its prefix."""
    return _KEY.sub("fh-***", text)


def one_line(text: str) -> str:
    """The text with control characters as visible escapes: it cannot forge a line or drive a terminal."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def _safe(value: object) -> object:
    return value if isinstance(value, (int, float)) else one_line(redact(str(value)))


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    for name in _FIELDS:
        if (value := record.__dict__.get(name)) not in (None, ""):
            yield name, _safe(value)
    trace = record.__dict__.get("trace")
    if isinstance(trace, TraceContext):
        yield "trace_id", trace.trace_id.hex()
        yield "span_id", trace.span_id.hex()


class _Formatter(logging.Formatter):
    def _message(self, record: logging.LogRecord) -> str:
        return one_line(redact(record.getMessage()))

    def _failure(self, record: logging.LogRecord) -> str:
        if record.exc_info and record.exc_info[0] is not None:
            return redact(self.formatException(record.exc_info))
        return ""

    def _when(self, record: logging.LogRecord) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class JsonFormatter(_Formatter):
    """One JSON object a line: `time, level, logger, message`, the known `extra` fields, `error`."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": self._when(record),
            "level": record.levelname,
            "logger": record.name,
            "message": self._message(record),
        }
        entry.update(_fields(record))
        if failure := self._failure(record):
            entry["error"] = "\n".join(map(one_line, failure.splitlines()))
        # A lone surrogate has no UTF-8 form; a log line must not fail on it.
        clean = {name: _encodable(value) for name, value in entry.items()}
        return orjson.dumps(clean).decode()


class TextFormatter(_Formatter):
    """One line for a person: time, level, logger, message, fields; a traceback follows indented."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _fields(record))
        line = f"{self._when(record)} {record.levelname:<7} {record.name}: {self._message(record)}{fields}"
        failure = "".join(f"\n    {one_line(part)}" for part in self._failure(record).splitlines())
        return str(_encodable(line + failure))


def _encodable(value: object) -> object:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def configure_logging(stream: TextIO, level: str, json: bool) -> None:
    """Send every logger of this process to one stream, replacing what was there before."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if json else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)

"""Logs carry ids and no secrets, and nobody can forge a line of them."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from shared.telemetry.logs import JsonFormatter, TextFormatter, configure_logging, one_line, redact
from shared.telemetry.trace import TraceContext

KEY = "fh-demo_AbC-123456789secret"


@pytest.fixture
def untouched_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture(params=[True, False], ids=["json", "text"])
def stream(request: pytest.FixtureRequest, untouched_root: None) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(stream, "INFO", request.param)
    return stream


def test_json_lines_carry_the_ids(untouched_root: None) -> None:
    stream = io.StringIO()
    configure_logging(stream, "INFO", True)
    trace = TraceContext(bytes(range(16)), bytes(range(8)), True)
    logging.getLogger("billing").info(
        "settled %d", 3, extra={"request": "r-1", "trace": trace, "seconds": 0.5}
    )
    entry = json.loads(stream.getvalue())
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "INFO",
        "logger": "billing",
        "message": "settled 3",
        "request": "r-1",
        "seconds": 0.5,
        "trace_id": bytes(range(16)).hex(),
        "span_id": bytes(range(8)).hex(),
    }


@pytest.mark.attack(44)
def test_a_field_that_is_not_known_is_not_written(stream: io.StringIO) -> None:
    logging.getLogger("edge").info("accepted", extra={"prompt": "a state secret"})
    assert "state secret" not in stream.getvalue()


@pytest.mark.attack(44)
def test_keys_are_cut_everywhere(stream: io.StringIO) -> None:
    log = logging.getLogger("edge")
    log.info("key %s", KEY, extra={"request": KEY, "tenant": f"x{KEY}"})
    try:
        raise ValueError(f"bad key {KEY}")
    except ValueError:
        log.exception("refused")
    assert "AbC" not in stream.getvalue()
    assert stream.getvalue().count("fh-***") >= 4


@pytest.mark.attack(44)
def test_a_message_cannot_forge_a_line_or_drive_a_terminal(stream: io.StringIO) -> None:
    hostile = "x\n2026-01-01 INFO all is well\r\x1b[2J\u2028\u202e\x9b\x00"
    try:
        raise ValueError(hostile)
    except ValueError:
        logging.getLogger("edge").exception(hostile, extra={"request": hostile})
    written = stream.getvalue()
    assert not set(written) & set("\r\x1b\u2028\u202e\x9b\x00")
    assert not any(line.startswith("2026-01-01 INFO") for line in written.splitlines())


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()], ids=["json", "text"])
def test_a_lone_surrogate_does_not_fail_a_line(formatter: logging.Formatter) -> None:
    # Formatted by hand: the test runner would send a logged record between its processes as UTF-8.
    record = logging.LogRecord("edge", logging.INFO, "", 0, "odd \ud800 text", None, None)
    assert "ud800" in formatter.format(record).encode().decode()


def test_levels_below_the_setting_are_not_written(stream: io.StringIO) -> None:
    logging.getLogger("edge").debug("detail")
    assert stream.getvalue() == ""


def test_only_keys_are_redacted() -> None:
    assert redact("the fh-code and half-done fh-abcd.") == "the fh-*** and half-done fh-***."
    assert redact("plain text, 100 %") == "plain text, 100 %"
    assert one_line("plain text, ünïcode ไทย") == "plain text, ünïcode ไทย"

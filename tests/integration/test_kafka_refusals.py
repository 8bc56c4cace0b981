"""Wrong passwords, keys and protocols: one clear line, at once, without the secret."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from services.cli.main import main
from shared.bus.kafka_bus import KafkaBus
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.ports import BusRefused
from shared.bus.topics import load_topics
from shared.host import system_host
from tests.servers.certificates import Authority
from tests.servers.guarded import ADMIN, GuardedKafka, password

TOPICS = load_topics("compose")
WRONG = "not-the-password-at-all"
FAILED = "Failed authentication with /127.0.0.1"
"""How a broker's log tells of one attempt."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedKafka]:
    broker = GuardedKafka(tmp_path_factory.mktemp("guarded"), ["edge"])
    try:
        broker.start()
        yield broker
    finally:
        broker.remove()


class Wrong(NamedTuple):
    """One way to be wrong, and what a person is told of it."""

    told: str
    changes: dict[str, object]


HOPELESS = {
    "password": Wrong("refuse the credentials: .*invalid credentials", {"password": WRONG}),
    "no password": Wrong("refuse the credentials: .*invalid credentials", {"password": ""}),
    "user": Wrong("refuse the credentials: .*invalid credentials", {"username": "nobody", "password": WRONG}),
    "mechanism": Wrong("do not offer the FREEHOLD_KAFKA_MECHANISM", {"mechanism": "SCRAM-SHA-256"}),
    "plain mechanism": Wrong("do not offer the FREEHOLD_KAFKA_MECHANISM", {"mechanism": "PLAIN"}),
    "authority": Wrong("TLS with the brokers fails: .*certificate verify failed", {"ca": "OTHER"}),
    "no authority": Wrong("TLS with the brokers fails: .*certificate verify failed", {"ca": None}),
    "authority's file": Wrong("TLS: /nowhere/ca.pem: No such file", {"ca": "/nowhere/ca.pem"}),
    "certificate's file": Wrong(
        "TLS: /nowhere/it.crt with .*: No such file", {"certificate": "/nowhere/it.crt"}
    ),
    "key of another": Wrong("TLS: .*client.crt with .*other.key: .*mismatch", {"key": "OTHER"}),
}
"""No waiting helps."""
PERHAPS = {
    "no certificate": Wrong("or a certificate", {"certificate": None, "key": None}),
    "no TLS": Wrong("FREEHOLD_KAFKA_SECURITY is not what the broker expects", {"security": "SASL_PLAINTEXT"}),
    "nothing at all": Wrong(
        "FREEHOLD_KAFKA_SECURITY is not what the broker expects", {"security": "PLAINTEXT"}
    ),
    "no SASL": Wrong("FREEHOLD_KAFKA_SECURITY is not what the broker expects", {"security": "SSL"}),
}
"""The broker only hangs up, as one that is starting does."""


def wrong(broker: GuardedKafka, changes: dict[str, object], folder: Path) -> KafkaSettings:
    """What the edge would be set to, but for these."""
    other = Authority(folder, "other")
    _, key = other.issue("other")
    files = {"ca": other.path, "key": key}
    return broker.of("edge", **{name: files[name] if it == "OTHER" else it for name, it in changes.items()})


def command(settings: KafkaSettings, wait: int) -> str:
    """What `freehold topics check` says where it fails."""
    environment = {
        f"FREEHOLD_KAFKA_{name.upper()}": str(value)
        for name, value in {**settings.model_dump(), "password": settings.password.get_secret_value()}.items()
        if value is not None
    }
    done = CliRunner().invoke(main, ["topics", "check", "--wait", str(wait)], env=environment)
    assert done.exit_code == 1
    assert done.stdout == ""
    return done.stderr


def attempts(broker: GuardedKafka) -> int:
    """How often somebody was turned away at the door."""
    return broker.log().count(FAILED)


@pytest.mark.parametrize("name", HOPELESS)
def test_the_command_ends_at_once_with_one_line(guarded: GuardedKafka, tmp_path: Path, name: str) -> None:
    before = attempts(guarded)
    told = command(wrong(guarded, HOPELESS[name].changes, tmp_path), wait=100)
    assert told.count("\n") == 1
    assert told.startswith("freehold: Kafka at 127.0.0.1:")
    assert_told(told, HOPELESS[name].told)
    assert attempts(guarded) - before <= 1


@pytest.mark.parametrize("name", PERHAPS)
def test_a_broker_that_hangs_up_is_told_with_what_may_be_wrong(
    guarded: GuardedKafka, tmp_path: Path, name: str
) -> None:
    told = command(wrong(guarded, PERHAPS[name].changes, tmp_path), wait=0)
    assert told.count("\n") == 1
    assert_told(told, PERHAPS[name].told)


@pytest.mark.parametrize("name", HOPELESS)
async def test_a_service_is_refused_once(
    guarded: GuardedKafka, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    before = attempts(guarded)
    with pytest.raises(BusRefused) as refused:
        await KafkaBus(
            system_host(), TOPICS, wrong(guarded, HOPELESS[name].changes, tmp_path), "edge"
        ).start()
    assert_told(str(refused.value), HOPELESS[name].told)
    assert "\n" not in str(refused.value)
    assert WRONG not in caplog.text
    assert password("edge") not in caplog.text
    assert attempts(guarded) - before <= 3, "no storm"


def test_what_is_right_comes_through(guarded: GuardedKafka) -> None:
    told = command(guarded.of(ADMIN), wait=0)
    assert "requests is missing; `freehold topics apply` makes it" in told


def assert_told(text: str, pattern: str) -> None:
    """The pattern is in the text, and no secret is."""
    assert re.search(pattern, text), text
    assert WRONG not in text
    assert password("edge") not in text

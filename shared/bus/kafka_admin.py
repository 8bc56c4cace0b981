"""What a person does to a broker: ask which topics there are and how they are set, and make some.

One connection to one broker; a Kafka without ZooKeeper hands on what its controller has to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

from shared.bus.kafka import (
    CreateAclsRequest,
    CreateTopicsRequest,
    DescribeConfigsRequest,
    KafkaError,
    MetadataRequest,
    create_conn,
    error_of,
    hosts_of,
    options,
    told,
)
from shared.bus.kafka_rights import Binding
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.ports import BusError, BusRefused

CLIENT = "freehold-topics"
CONNECT_S = 5.0
REQUEST_S = 30.0
_TOPIC = 2
"""Of the kinds of things that have a configuration."""
_KINDS = {"topic": 2, "group": 3, "cluster": 4}
_OPERATIONS = {"read": 3, "write": 4, "idempotent_write": 12}
_LITERAL, _ALLOW, _ANYWHERE = 3, 3, "*"
_UNKNOWN, _FORBIDDEN, _EXISTS, _COPIES = 3, 29, 36, 38
"""Codes of the wire."""


class Found(NamedTuple):
    """A topic as the brokers have it."""

    partitions: int
    copies: int
    """Of the partition that has the fewest."""
    led: bool
    """Whether each partition has a leader, so that it can be written and read."""


class NewTopic(NamedTuple):
    """A topic as it is to be made."""

    name: str
    partitions: int
    copies: int
    configuration: Mapping[str, str]


class Admin:
    """Names here are those on the wire."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, settings: KafkaSettings) -> Self:
        """Connect to whichever broker answers first. Raises `BusRefused` where one refuses us or TLS fails,
        `BusError` where none answers.
        """
        given = options(settings, CLIENT)
        hosts = hosts_of(given.pop("bootstrap_servers"))
        failure = BusError("no broker is named")
        for host, port, _ in hosts:
            doing = f"connecting to {host}:{port}"
            try:
                async with asyncio.timeout(CONNECT_S):
                    made = cls(
                        await create_conn(host, port, request_timeout_ms=int(REQUEST_S * 1000), **given)
                    )
                    # The first answer shows that both sides mean the same protocol.
                    await made._send(MetadataRequest([], False), doing)
                    return made
            except (OSError, KafkaError, TimeoutError) as error:
                failure = told(error, doing)
            except BusError as error:
                failure = error
            if isinstance(failure, BusRefused):
                break
        raise failure

    async def topics(self, names: Iterable[str]) -> Mapping[str, Found]:
        """Those of the names that are there. Raises `BusRefused` where one may not be seen."""
        answer = await self._send(MetadataRequest(list(names), False), "asking for topics")
        found = {}
        for code, name, _, partitions in answer.topics:
            if code == _FORBIDDEN:
                raise BusRefused(f"no right to see the topic {name}")
            if code != _UNKNOWN and partitions:
                found[name] = Found(
                    partitions=len(partitions),
                    copies=min(len(replicas) for _, _, _, replicas, *_ in partitions),
                    led=all(leader >= 0 for _, _, leader, *_ in partitions),
                )
        return found

    async def configurations(self, asked: Mapping[str, Iterable[str]]) -> Mapping[str, Mapping[str, str]]:
        """By topic, what the keys asked for are in effect, wherever they were set. Raises `BusRefused`."""
        if not asked:
            return {}
        resources = [(_TOPIC, name, list(keys)) for name, keys in asked.items()]
        answer = await self._send(DescribeConfigsRequest(resources), "asking how topics are set")
        found = {}
        for code, message, _, name, entries in answer.resources:
            if code:
                raise BusRefused(
                    f"how the topic {name} is set is not told: {message or error_of(code).__name__}"
                )
            found[name] = {entry[0]: entry[1] for entry in entries}
        return found

    async def create(self, topics: Iterable[NewTopic]) -> None:
        """Make them; one that somebody else made meanwhile is none the worse for it. Raises `BusRefused`,
        and `BusError` where more brokers, or time, may help.
        """
        asked: list[tuple[object, ...]] = [
            (topic.name, topic.partitions, topic.copies, [], list(topic.configuration.items()))
            for topic in topics
        ]
        request = CreateTopicsRequest(asked, int(REQUEST_S * 1000), False)
        answer = await self._send(request, "making topics")
        for name, code, message in answer.topic_errors:
            if code in (0, _EXISTS):
                continue
            error = error_of(code)
            reason = f"the topic {name} cannot be made: {message or error.__name__}"
            raise BusError(reason) if code == _COPIES or error.retriable else BusRefused(reason)

    async def allow(self, rights: Iterable[Binding]) -> None:
        """Give these rights; those that are there stay as they are. Raises `BusRefused`, where one may not
        or the brokers check nobody's rights.
        """
        for one in rights:
            kind, operation = _KINDS[one.kind], _OPERATIONS[one.operation]
            request = CreateAclsRequest(kind, one.name, _LITERAL, one.principal, _ANYWHERE, operation, _ALLOW)
            answer = await self._send(request, "giving rights")
            for code, message in answer.creation_responses:
                if code:
                    reason = message or error_of(code).__name__
                    raise BusRefused(f"{one.principal} cannot be given its right to {one.name}: {reason}")

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()

    async def _send(self, request: Any, doing: str) -> Any:
        try:
            return await self._connection.send(request)
        except (OSError, KafkaError, TimeoutError) as error:
            raise told(error, doing) from error

"""All that is used of aiokafka, private parts included: the one file that imports it.

`kafka_link`, `kafka_sending` and `kafka_fetching` hold one life each of a client, a producer and a
consumer; what they reach into is stated there and kept by tests against a broker.
"""

from __future__ import annotations

import ssl
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import collect_hosts as hosts_of
from aiokafka.conn import create_conn
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ConsumerStoppedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.errors import for_code as error_of
from aiokafka.producer.message_accumulator import MessageBatch
from aiokafka.protocol.admin import (
    CreateAclsRequest,
    CreateTopicsRequest,
    DescribeConfigsRequest,
    DescribeGroupsRequest,
)
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition as Place

from shared.bus.kafka_settings import KafkaSettings
from shared.bus.ports import BusError, BusRefused, RecordTooLarge
from shared.tls import TlsFiles, TlsInvalid, client_context

__all__ = [
    "TOO_LARGE",
    "AIOKafkaClient",
    "AIOKafkaConsumer",
    "AIOKafkaProducer",
    "ConsumerRebalanceListener",
    "ConsumerStoppedError",
    "CreateAclsRequest",
    "CreateTopicsRequest",
    "DescribeConfigsRequest",
    "DescribeGroupsRequest",
    "KafkaError",
    "MessageBatch",
    "MetadataRequest",
    "OffsetRequest",
    "Place",
    "RoundRobinPartitionAssignor",
    "TopicAuthorizationFailedError",
    "create_conn",
    "error_of",
    "hosts_of",
    "options",
    "told",
]

TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
CREDENTIALS = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
RIGHTS = (TopicAuthorizationFailedError, GroupAuthorizationFailedError)


def options(settings: KafkaSettings, client: str) -> dict[str, Any]:
    """What every client of the library is given to reach the brokers. Raises `BusRefused`."""
    given: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap,
        "client_id": client,
        "security_protocol": settings.security,
        "ssl_context": _tls(settings) if settings.security.endswith("SSL") else None,
    }
    if settings.security.startswith("SASL"):
        given["sasl_mechanism"] = settings.mechanism
        given["sasl_plain_username"] = settings.username
        given["sasl_plain_password"] = settings.password.get_secret_value()
    return given


def told(error: BaseException, doing: str) -> BusError:
    """The library's error as the port's, with what was being done."""
    reason = str(error) or type(error).__name__
    if isinstance(error, UnsupportedSaslMechanismError):
        return BusRefused("the brokers do not offer the FREEHOLD_KAFKA_MECHANISM that is set")
    if isinstance(error, CREDENTIALS):
        return BusRefused(f"the brokers refuse the credentials: {reason}")
    if isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return BusRefused(f"TLS with the brokers fails: {reason}")
    if isinstance(error, RIGHTS):
        return BusError(f"{doing}: no right to {', '.join(map(str, error.args)) or 'it'}")
    if isinstance(error, TOO_LARGE):
        return RecordTooLarge(f"{doing}: {reason}")
    if isinstance(error, TimeoutError):
        return BusError(f"{doing}: no answer in time")
    if doing.startswith("connecting") and isinstance(error, KafkaConnectionError):
        reason += (
            "; where it goes on, FREEHOLD_KAFKA_SECURITY is not what the broker expects, or a certificate"
        )
    return BusError(f"{doing}: {reason}")


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        return client_context(TlsFiles(settings.ca, settings.certificate, settings.key))
    except TlsInvalid as error:
        raise BusRefused(str(error)) from error

"""Brokers that check who comes: TLS on both sides, rights by topic, and names by SCRAM or by certificate."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from shared.bus.kafka_settings import KafkaSettings
from tests.servers.certificates import Authority
from tests.servers.identities import House
from tests.servers.kafka import Kafka

ADMIN = "admin"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"


class GuardedKafka(Kafka):
    """Nothing is allowed but to the administrator, until rights are given."""

    def __init__(self, folder: Path, users: Iterable[str]) -> None:
        self.authority = Authority(folder)
        certificate, key = self.authority.issue("broker")
        identity = folder / "broker.pem"
        identity.write_bytes(key.read_bytes() + certificate.read_bytes())
        self.certificate, self.key = self.authority.issue("client")
        listener = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(identity),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.path),
            "ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "scram-sha-512.sasl.jaas.config": f"{SCRAM} required;",
        }
        super().__init__(
            folder,
            protocol="SASL_SSL",
            extra={
                **{f"listener.name.clients.{name}": value for name, value in listener.items()},
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                # Brokers are nobody to one another here: their own listeners ask for no name.
                "super.users": f"User:{ADMIN};User:ANONYMOUS",
            },
            users=[f"SCRAM-SHA-512=[name={user},password={password(user)}]" for user in (ADMIN, *users)],
        )

    def of(self, user: str, **changes: object) -> KafkaSettings:
        """How that user reaches it."""
        given = {
            "username": user,
            "password": password(user),
            "ca": self.authority.path,
            "certificate": self.certificate,
            "key": self.key,
        }
        return self.settings(**{**given, **changes})


class CertifiedKafka(Kafka):
    """Who comes is the common name of his certificate by the house's authority."""

    def __init__(self, folder: Path, house: House) -> None:
        self.house = house
        ca, identity, _ = house.files("kafka")
        listener = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(identity),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(ca),
            "ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=([a-z]+)$/$1/",
        }
        super().__init__(
            folder,
            protocol="SSL",
            extra={
                **{f"listener.name.clients.{name}": value for name, value in listener.items()},
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:operator;User:ANONYMOUS",  # brokers among themselves, as above
            },
        )

    def of(self, name: str, **changes: object) -> KafkaSettings:
        """How the process of that name reaches it."""
        ca, certificate, _ = self.house.files(name)
        return self.settings(**{"ca": ca, "certificate": certificate, **changes})


def password(user: str) -> str:
    """Of a user of the tests."""
    return f"secret-of-{user}"

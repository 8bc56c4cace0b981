"""A deployment in which every connection inside is mutual TLS: broker, database, and calls."""

from __future__ import annotations

from pathlib import Path

from shared.bus.kafka_settings import KafkaSettings
from tests.e2e.deployment import Deployment, Replica
from tests.servers.guarded import CertifiedKafka
from tests.servers.identities import House
from tests.servers.postgres import Postgres


class Secured:
    """The house and the two servers that let in nobody else."""

    def __init__(self, folder: Path) -> None:
        self.house = House(folder / "house", hosts=["127.0.0.1"])
        (folder / "kafka").mkdir()
        self.kafka = CertifiedKafka(folder / "kafka", self.house)
        self.postgres = Postgres(self.house)

    def start(self) -> None:
        """Return when both answer."""
        self.kafka.start()
        self.postgres.start()

    def remove(self) -> None:
        """End them and delete their data."""
        self.kafka.remove()
        self.postgres.remove()


class SecuredDeployment(Deployment):
    """Each replica has its own service's certificate, and the command line the operator's."""

    def __init__(self, folder: Path, secured: Secured, **environment: str) -> None:
        self._house = secured.house
        kafka = secured.kafka.settings(prefix="secured.")
        database = secured.postgres.settings("secured")
        super().__init__(folder, kafka, database, **{**certified(self._house, "operator"), **environment})
        del self.environment["FREEHOLD_DATABASE_PASSWORD"]

    def prepare(self) -> None:
        """As every deployment, and with the broker's rights."""
        self.command("topics", "apply", "--rights")
        self.command("migrate")

    def add(self, service: str, instance: str | None = None, **environment: str) -> Replica:
        """See `Deployment.add`."""
        return super().add(service, instance, **{**certified(self._house, service), **environment})

    def kafka(self, name: str) -> KafkaSettings:
        """How the process of that name reaches the broker."""
        names = self.environment
        ca, certificate, _ = self._house.files(name)
        return KafkaSettings(
            bootstrap=names["FREEHOLD_KAFKA_BOOTSTRAP"],
            prefix=names["FREEHOLD_KAFKA_PREFIX"],
            security="SSL",
            ca=ca,
            certificate=certificate,
        )


def certified(house: House, name: str) -> dict[str, str]:
    """The environment of a process of that name."""
    ca, certificate, _ = map(str, house.files(name))
    return {
        "FREEHOLD_TLS_CA": ca,
        "FREEHOLD_TLS_CERTIFICATE": certificate,
        "FREEHOLD_KAFKA_SECURITY": "SSL",
        "FREEHOLD_KAFKA_CA": ca,
        "FREEHOLD_KAFKA_CERTIFICATE": certificate,
        "FREEHOLD_DATABASE_CA": ca,
        "FREEHOLD_DATABASE_CERTIFICATE": certificate,
    }

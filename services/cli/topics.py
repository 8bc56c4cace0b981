"""`freehold topics`: the topics of an installation on Kafka, and the rights of its services."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from services.cli.session import fail
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.ports import BusError, BusRefused
from shared.bus.topics import load_topics
from shared.host import system_host

T = TypeVar("T")
WAIT_S = 30.0
STEP_S = 0.5

waiting = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 3600),
    default=WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long brokers that are not there, or not all, are waited for.",
)


@click.group()
def topics() -> None:
    """Make and check the topics on Kafka; FREEHOLD_KAFKA_* says where it is."""


@topics.command()
@waiting
@click.option("--rights", is_flag=True, help="Give each service its rights as well; take none away.")
def apply(wait_s: float, rights: bool) -> None:
    """Make the topics that are missing; change none that is there.

    Needs an administrator's rights. Where a topic is not as declared nothing is made, and every
    difference is listed with what to do about it.
    """
    from shared.bus.kafka_rights import bindings  # noqa: PLC0415 - `--help` needs no Kafka
    from shared.bus.kafka_topics import apply as make  # noqa: PLC0415
    from shared.bus.kafka_topics import grant  # noqa: PLC0415

    settings, declared = KafkaSettings(), load_topics("compose")
    made = _insist(lambda: make(declared, settings, system_host().clock), settings, wait_s)
    for name in made:
        click.echo(f"{name}: made")
    click.echo(f"{len(declared)} topics are as declared")
    if rights:
        wanted = bindings(declared, settings.prefix)
        _insist(lambda: grant(wanted, settings), settings, wait_s)
        click.echo(f"{len({one.principal for one in wanted})} services have their rights")


@topics.command()
@waiting
def check(wait_s: float) -> None:
    """Compare the topics with what is declared; change nothing."""
    from shared.bus.kafka_topics import check as compare  # noqa: PLC0415 - `--help` needs no Kafka

    settings, declared = KafkaSettings(), load_topics("compose")
    _insist(lambda: compare(declared, settings), settings, wait_s)
    click.echo(f"{len(declared)} topics are as declared")


@topics.command()
@click.option(
    "--admin",
    metavar="FILE",
    default="admin.properties",
    show_default=True,
    help="Client properties of an administrator, for kafka-acls.sh.",
)
def acls(admin: str) -> None:
    """Print the commands that give each service its rights and no others.

    Each service is the Kafka principal User:NAME. The topics' administrator needs rights beside
    these, and whoever reads the topic of dead letters.
    """
    from shared.bus.kafka_rights import commands  # noqa: PLC0415 - beside the others

    settings = KafkaSettings()
    tool = f"kafka-acls.sh --bootstrap-server {settings.bootstrap} --command-config {admin}"
    for line in commands(load_topics("compose"), tool, settings.prefix):
        click.echo(line)


def _insist(do: Callable[[], Awaitable[T]], settings: KafkaSettings, wait_s: float) -> T:
    """What it gives, or the command's end with what is wrong; waits only for what may still come."""
    clock = system_host().clock

    async def go() -> T:
        until, told = clock.monotonic() + wait_s, False
        while True:
            try:
                return await do()
            except BusRefused:
                raise
            except BusError as error:
                if clock.monotonic() + STEP_S > until:
                    raise
                if not told:
                    click.echo(f"waiting {wait_s:.0f} s for Kafka at {settings.bootstrap}: {error}", err=True)
                    told = True
                await clock.sleep(STEP_S)

    try:
        return asyncio.run(go())
    except BusError as error:
        fail(f"Kafka at {settings.bootstrap}: {error}")

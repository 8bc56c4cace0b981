"""A PostgreSQL that knows services by their certificates: who is let in, and how it is told of new ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from shared.host import system_host
from shared.storage.database import DatabaseError
from shared.storage.postgres_connection import Link, Server
from shared.storage.settings import DatabaseSettings
from tests.servers.identities import House
from tests.servers.postgres import Postgres

PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postgres, House]]:
    house = House(tmp_path_factory.mktemp("house"), hosts=["127.0.0.1"])
    server = Postgres(house)
    try:
        server.start()
        yield server, house
    finally:
        server.remove()


def of(server: Postgres, house: House, name: str, **changes: object) -> DatabaseSettings:
    """How a process of that name reaches it: no password."""
    ca, certificate, _ = house.files(name)
    given = {"password": SecretStr(""), "ca": ca, "certificate": certificate}
    return server.settings("certified").model_copy(update={**given, **changes})


async def dialled(settings: DatabaseSettings) -> Link:
    return await Server(settings, "billing", system_host()).connect()


async def shown(link: Link) -> tuple[str, str]:
    """How the server sees the connection: version of TLS, and whose certificate."""
    asked = sa.text("SELECT version, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    row = await link.run(lambda connection: connection.execute(asked).one())
    return str(row[0]), str(row[1])


async def test_services_with_a_schema_are_let_in_by_certificate(certified: tuple[Postgres, House]) -> None:
    for name in ("control", "billing", "audit", "operator"):
        link = await dialled(of(*certified, name))
        assert await shown(link) == ("TLSv1.3", f"/CN={name}")
        await link.close()


@pytest.mark.parametrize(
    "fault",
    [
        *("no certificate", "another authority's", "expired", "a service without a schema"),
        *("a server by another", "another host", "not TLS", "password alone"),
    ],
)
async def test_nobody_else_is(certified: tuple[Postgres, House], tmp_path: Path, fault: str) -> None:
    server, house = certified
    other = House(tmp_path, ["billing"]).files("billing")
    house.expire("inference")
    changes: dict[str, object] = {
        "no certificate": {"certificate": None},
        "another authority's": {"certificate": other.certificate},
        "expired": {"certificate": house.files("inference").certificate},
        "a service without a schema": {"certificate": house.files("edge").certificate},
        "a server by another": {"ca": other.ca},
        "another host": {"host": "localhost"},
        "not TLS": {"ca": None, "certificate": None},
        "password alone": {"certificate": None, "password": server.settings("certified").password},
    }[fault]
    with pytest.raises(DatabaseError) as failed:
        await dialled(of(server, house, "billing", **changes))
    assert "PRIVATE" not in str(failed.value)


async def test_new_certificates_of_both_sides_are_taken_over_while_transactions_run(
    certified: tuple[Postgres, House],
) -> None:
    server, house = certified
    known = Server(of(server, house, "billing"), "billing", system_host())
    before = await known.connect()
    await before.execute("BEGIN")
    for name in ("billing", "postgres", "billing"):
        house.renew(name)
        server.renew()
        link = await known.connect()
        assert await shown(link) == ("TLSv1.3", "/CN=billing")
        await link.close()
    house.authority().replace()
    for name in house.authority().holders():
        house.renew(name)
    server.renew()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                link = await known.connect()
                break
            except DatabaseError:
                await asyncio.sleep(0.1)  # it reads its files when it comes to it
    await link.close()
    assert await before.execute("COMMIT") == "COMMIT", "a connection that is open goes on"
    await before.close()
    await known.close()

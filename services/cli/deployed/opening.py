"""`freehold welcome`: waits until the platform serves, makes the demo once, and says how to call it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import grpc
import httpx

from services.cli.deployed.given import identity, tokens
from services.cli.deployed.settings import ProcessSettings, WelcomeSettings
from services.cli.embedded.home import Home
from services.cli.remote_control import RemoteControl
from services.cli.session import fail
from services.control.seed import ORGANISATION, seed_demo
from shared.files import SystemFiles
from shared.host import Host, system_host
from shared.rpc.channel import connect

RETRY_S = 0.5
REQUEST_S = 60.0
NAMES = {"OPENAI_API_KEY", "FREEHOLD_ADMIN_KEY"}

T = TypeVar("T")


def welcome() -> None:
    """Ends with one line where the platform does not become ready in time."""
    settings = WelcomeSettings()
    try:
        click.echo(asyncio.run(_welcome(settings, system_host())))
    except TimeoutError as error:
        fail(f"the platform was not ready within {settings.welcome_timeout_s:.0f} s: {error}")


async def _welcome(settings: WelcomeSettings, host: Host) -> str:
    opening = _Opening(settings, host)
    home = Home(settings.home, SystemFiles())
    host.files.make_folder(home.path)
    values = await opening.keys(home.read_demo())
    home.write_demo({**values, "OPENAI_BASE_URL": settings.public_url})
    model = await opening.first_answer(values["OPENAI_API_KEY"])
    return _text(settings.public_url, model, values["OPENAI_API_KEY"])


class _Opening:
    """Every step is tried until the time that the start may take is over."""

    def __init__(self, settings: WelcomeSettings, host: Host) -> None:
        self._settings = settings
        self._identity = identity()
        self._clock = host.clock
        self._until = host.clock.monotonic() + settings.welcome_timeout_s

    async def keys(self, kept: dict[str, str]) -> dict[str, str]:
        """The demo's keys: those that were kept, where this platform made them, else new ones."""
        return await self._insist(lambda: self._keys(kept))

    async def first_answer(self, key: str) -> str:
        """The model that answered."""
        return await self._insist(lambda: self._ask(key))

    async def _keys(self, kept: dict[str, str]) -> dict[str, str]:
        process = ProcessSettings()
        async with connect(
            process.control_target, tokens(process)[0], service="control", identity=self._identity
        ) as channel:
            control = RemoteControl(channel)
            await control.load()
            if not control.known.models:
                raise _NotYet("control offers no model yet")
            if ORGANISATION in control.known.organisations and kept.keys() >= NAMES:
                return kept
            made = await seed_demo(control)
            return {"OPENAI_API_KEY": made.client, "FREEHOLD_ADMIN_KEY": made.admin}

    async def _ask(self, key: str) -> str:
        headers = {"Authorization": f"Bearer {key}"}
        url = self._settings.edge_url
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=REQUEST_S) as client:
            models = (await client.get("/v1/models")).raise_for_status().json()["data"]
            live = [model["id"] for model in models if model["freehold"]["live"]]
            if not live:
                raise _NotYet("no worker serves a model yet")
            body = {"model": live[0], "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 1}
            (await client.post("/v1/chat/completions", json=body)).raise_for_status()
            return str(live[0])

    async def _insist(self, step: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await step()
            except (grpc.aio.AioRpcError, httpx.HTTPError, _NotYet) as error:
                if self._clock.monotonic() > self._until:
                    raise TimeoutError(_reason(error)) from error
                await self._clock.sleep(RETRY_S)


class _NotYet(Exception):
    """Something answers, and is not there yet."""


def _reason(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"control: {error.details() or error.code().name}"
    return str(error) or type(error).__name__


def _text(url: str, model: str, key: str) -> str:
    place = url.removesuffix("/v1").partition("://")[2]
    return f"""
Freehold is ready: {model} has answered its first request.

  export OPENAI_BASE_URL={url}
  export OPENAI_API_KEY={key}

  curl $OPENAI_BASE_URL/chat/completions -H "Authorization: Bearer $OPENAI_API_KEY" \\
    -H "Content-Type: application/json" \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'

  grpcurl -plaintext -H "authorization: Bearer $OPENAI_API_KEY" \\
    -d '{{"request": {{"model": "{model}", "messages": [{{"role": "ROLE_USER", "parts": ["Hello!"]}}]}}}}' \\
    {place} freehold.api.v1.Completions/Complete
"""

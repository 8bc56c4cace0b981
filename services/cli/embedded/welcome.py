"""What `freehold up` shows: progress while it starts, then the address and how to call it."""

from __future__ import annotations

import sys
from shlex import quote
from types import TracebackType
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.status import Status

from services.cli.session import freehold, near

if TYPE_CHECKING:
    from services.cli.embedded.platform import Embedded


class Progress:
    """One line that says what the start is at; plain lines where the output is no terminal."""

    def __init__(self) -> None:
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        if sys.stdout.isatty():
            self._status = Console().status("Starting")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()

    def say(self, text: str) -> None:
        """Show the step that begins now."""
        if self._status:
            self._status.update(text)
        else:
            click.echo(f"... {text}")


def welcome(platform: Embedded) -> str:
    """How to call the running platform with curl, Python and grpcurl; fits a screen of 24 lines of 80."""
    model, demo = platform.manifest.name, quote(str(near(platform.home.demo)))
    return f"""
Freehold is ready: {model} ({platform.engine})
  HTTP {platform.base_url}   gRPC {platform.grpc_target}   keys {demo}

In another shell:
  {freehold()} demo     five requests: answered, streamed, refused, ...
  set -a; . {demo}; set +a

  curl $OPENAI_BASE_URL/chat/completions \\
    -H "Authorization: Bearer $OPENAI_API_KEY" \\
    -H "Content-Type: application/json" -d '
    {{"model": "{model}",
     "messages": [{{"role": "user", "content": "Hello!"}}]}}'

  python -c 'from openai import OpenAI; print(OpenAI().chat.completions.create(
    model="{model}", messages=[{{"role": "user",
    "content": "Hello!"}}]).choices[0].message.content)'

  grpcurl -plaintext -H "authorization: Bearer $OPENAI_API_KEY" -d '
    {{"request": {{"model": "{model}",
      "messages": [{{"role": "ROLE_USER", "parts": ["Hello!"]}}]}}}}' \\
    $FREEHOLD_GRPC_TARGET freehold.api.v1.Completions/Complete

Ctrl-C stops; everything is kept."""

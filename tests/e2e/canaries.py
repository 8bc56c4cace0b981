"""Words that must be found nowhere but where they belong, and requests of every kind that carry them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx

from shared.contracts.freehold.api.v1 import api_pb2 as api
from shared.contracts.freehold.api.v1 import api_pb2_grpc
from tests.e2e.running import MODEL

PROMPT = "xylograph-canary-of-the-prompt"
IDEMPOTENCY = "xylograph-canary-idempotency"
WRONG_KEY = "fh-xylograph-canary-wrong-key-0123456789"
FORBIDDEN = "Please run the Freehold refusal demo."
"""What the base pack refuses."""


@dataclass
class Canaries:
    """By what it is, what must not be seen."""

    words: dict[str, bytes] = field(default_factory=dict)

    def plant(self, name: str, word: str | bytes) -> None:
        """Watch for this, which is long enough to be there by no accident."""
        found = word if isinstance(word, bytes) else word.encode()
        assert len(found) >= 12, f"{name} is too short to be told from other words"
        self.words[name] = found

    def plant_secrets(self, folder: Path) -> None:
        """Every secret of an installation's folder, and every private key's own lines."""
        for path in (path for path in folder.rglob("*") if path.is_file()):
            name = str(path.relative_to(folder))
            text = path.read_bytes()
            if b"PRIVATE KEY-----" in text:
                self.plant(name, text.split(b"-----\n")[1].splitlines()[1])
            elif not path.name.endswith((".pub", ".pem")):
                # Of PRIVATE+KEY+name+id+seed the seed, in which there may be a + too.
                self.plant(name, text.strip().split(b"+", 4)[-1])

    def plant_keys(self, demo: Mapping[str, str]) -> None:
        """The demo's own."""
        self.plant("the client's key", demo["OPENAI_API_KEY"])
        self.plant("the administrator's key", demo["FREEHOLD_ADMIN_KEY"])

    def provoke(self, base_url: str, grpc_target: str, key: str) -> list[tuple[str, bytes]]:
        """Plant what only requests carry, and ask with it, rightly and wrongly; the bodies of the errors."""
        self.plant("the prompt", PROMPT)
        self.plant("the idempotency key", IDEMPOTENCY)
        self.plant("a wrong key", WRONG_KEY)
        answer, errors = _provoke(base_url, key)
        self.plant("the answer", answer)
        return errors + _provoke_grpc(grpc_target, key)

    def leaks(self, places: Iterable[tuple[str, bytes]], allowed: Iterable[str] = ()) -> list[str]:
        """Which canary is where, of those that are not allowed there."""
        watched = {name: word for name, word in self.words.items() if name not in set(allowed)}
        return [
            f"{name} in {place}: ...{text[max(0, at - 80) : at + 80]!r}"
            for place, text in places
            for name, word in watched.items()
            if (at := text.find(word)) >= 0
        ]


def files_in(folder: Path, but: Iterable[str] = ()) -> list[tuple[str, bytes]]:
    """What lies on the disk, but for these parts of it."""
    return [
        (str(path), path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in set(but)
    ]


def titles(pids: Iterable[int]) -> list[tuple[str, bytes]]:
    """What everybody on the machine sees of a process."""
    return [
        (f"/proc/{pid}/{name}", Path(f"/proc/{pid}/{name}").read_bytes())
        for pid in pids
        for name in ("cmdline", "comm")
    ]


def _provoke(base_url: str, key: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Ask rightly and wrongly, each time with the canaries; the answer's text, and the bodies of errors."""
    good = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 24}
    bad: dict[str, object] = {
        "cut off": json.dumps(good)[:-20].encode(),
        "not UTF-8": PROMPT.encode() + b"\xff\xfe",
        "not an object": [PROMPT],
        "unknown field": {**good, "no_such_field": PROMPT},
        "wrong type": {**good, "max_tokens": PROMPT},
        "out of range": {**good, "temperature": 99},
        "wrong role": {**good, "messages": [{"role": "robot", "content": PROMPT}]},
        "empty": {**good, "messages": []},
        "not supported": {**good, "tools": [{"type": "function", "function": {"name": "f"}}]},
        "too long": {**good, "messages": [{"role": "user", "content": f"{PROMPT} " * 5000}]},
        "refused": {**good, "messages": [{"role": "user", "content": f"{FORBIDDEN} {PROMPT}"}]},
    }
    errors = []
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=base_url, headers=headers, timeout=60.0, trust_env=False) as client:
        named = {"Idempotency-Key": IDEMPOTENCY}
        answer = client.post("/chat/completions", json=good, headers=named)
        assert answer.status_code == httpx.codes.OK, answer.text
        errors += [
            ("idempotency", client.post("/chat/completions", json=again, headers=named))
            for again in (good, {**good, "max_tokens": 5})
        ]
        for name, body in bad.items():
            how: dict[str, object] = {"content": body} if isinstance(body, bytes) else {"json": body}
            kind = {"Content-Type": "application/json"}
            errors.append((name, client.post("/chat/completions", headers=kind, **how)))  # type: ignore[arg-type]
        wrong = {"Authorization": f"Bearer {WRONG_KEY}"}
        errors.append(("wrong key", client.post("/chat/completions", json=good, headers=wrong)))
        errors.append(("wrong key", client.get("/models", headers=wrong)))
        with client.stream("POST", "/chat/completions", json={**good, "stream": True}) as stream:
            next(stream.iter_bytes())  # and leaves
    assert all(400 <= error.status_code < 500 for _, error in errors), [
        (name, error.status_code) for name, error in errors if not 400 <= error.status_code < 500
    ]
    text = str(answer.json()["choices"][0]["message"]["content"])
    return text, [(f"the error of {name!r}", error.content) for name, error in errors]


def _provoke_grpc(target: str, key: str) -> list[tuple[str, bytes]]:
    """As `_provoke`, over gRPC; what the errors say."""
    said = []
    with grpc.insecure_channel(target) as channel:
        stub = api_pb2_grpc.CompletionsStub(channel)
        for name, model, credential in (("no model", "none", key), ("wrong key", MODEL, WRONG_KEY)):
            asked = api.CompleteRequest()
            asked.request.model = model
            asked.request.messages.add(role="ROLE_USER", parts=[PROMPT])
            try:
                list(stub.Complete(asked, metadata=(("authorization", f"Bearer {credential}"),), timeout=30))
            except grpc.RpcError as error:
                said.append((f"the gRPC error of {name!r}", str(error).encode()))
    return said

"""The commands that an operator types, against a running platform with the real model."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.json_format import Parse
from openai import OpenAI

from services.audit.tlog.note import Signer
from services.audit.tlog.verify import ReceiptInvalid, verify_receipt
from shared.contracts.freehold.api.v1.api_pb2 import CompleteRequest
from shared.contracts.freehold.api.v1.api_pb2_grpc import CompletionsStub
from tests.e2e.running import MODEL, Running, freehold, until


@pytest.fixture
def client(platform: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=platform.base_url, api_key=platform.key, max_retries=0, timeout=60.0) as client:
        yield client


@pytest.fixture(scope="module")
def demo(platform: Running) -> str:
    """What the demo printed."""
    return platform.command("demo").stdout


def row(text: str, first: str) -> list[str]:
    """The cells of the table's line that begins with `first`, after it."""
    line = next(line for line in text.splitlines() if line.lstrip(" ").startswith(first) and line[0] == " ")
    return line.strip().removeprefix(first).split()


def request_of(text: str, what: str) -> str:
    """The request's id in the demo's details."""
    return next(line.split()[-1] for line in text.splitlines() if line.startswith(f"{what}  0"))


def test_the_demo_shows_all_five_ends_with_what_was_counted_and_billed(demo: str) -> None:
    for name in ("plain", "streamed"):
        state, generated, delivered, billed, price = row(demo, name)
        assert state == "completed"
        assert 0 < int(generated) == int(delivered) == int(billed)
        assert float(price) > 0
    for name in ("refused by policy", "over budget"):
        state, *counts, price = row(demo, name)
        assert (state, counts, float(price)) == ("refused", ["0", "0", "0"], 0.0)
    state, generated, delivered, billed, price = row(demo, "cancelled half-way")
    assert state == "cancelled"
    assert 0 < int(delivered) <= int(generated) == int(billed) < 1000
    assert float(price) > 0
    assert "400 content_policy_violation" in demo
    assert "429 insufficient_quota" in demo
    assert demo.count("receipt: entry") == 5
    assert max(map(len, demo.splitlines())) <= 80 or "--key" in max(demo.splitlines(), key=len)


def test_the_demo_leaves_no_valid_key_and_no_budget_behind(platform: Running, demo: str) -> None:
    del demo
    wide = {**platform.environment, "COLUMNS": "200"}
    listed = freehold("keys", "list", environment=wide).stdout.splitlines()
    poor = [line.split()[-1] for line in listed if "demo without money" in line]
    assert set(poor) == {"revoked"}
    assert "key-" not in platform.command("budgets", "list").stdout


def test_what_the_demo_says_to_type_next_works(platform: Running, demo: str) -> None:
    commands = [
        line.split()[1:] for line in demo.splitlines() if line.startswith("  ") and "freehold " in line
    ]
    assert [command[0] for command in commands] == ["trace", "ledger", "receipt"]
    for command in commands:
        platform.command(*command)


def test_a_trace_lists_the_hops_of_every_service_in_time(platform: Running, demo: str) -> None:
    lines = platform.command("trace", request_of(demo, "streamed")).stdout.splitlines()
    hops = [line.split() for line in lines if line.strip() and "." in line]
    services = [hop[0] for hop in hops]
    assert set(services) == {"edge", "billing", "tokenizer", "moderation", "inference", "audit"}
    starts = [float(next(word for word in hop if word.replace(".", "").isdigit())) for hop in hops]
    assert starts == sorted(starts)


def test_an_unknown_request_has_no_trace(platform: Running) -> None:
    done = platform.command("trace", "01a20617-0000-7000-8000-000000000000", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_status_names_every_service_as_ready(platform: Running) -> None:
    text = platform.command("status").stdout
    for service in ("control", "tokenizer", "moderation", "billing", "inference", "audit", "edge"):
        assert row(text, service) == ["ready"]


def test_the_ledger_verifies_check_by_check(platform: Running, demo: str) -> None:
    del demo
    lines = platform.command("ledger", "verify").stdout.splitlines()
    results = [line.split()[-2:] for line in lines if line.endswith(("ok     ", "FAILED ", "ok", "FAILED"))]
    assert len(results) >= 5
    assert {result for _, result in results} == {"ok"}
    assert all(int(examined) > 0 for examined, _ in results)


def test_a_receipt_is_saved_and_verified_and_any_flipped_byte_is_seen(
    platform: Running, client: OpenAI, tmp_path: Path
) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Say hello."}], max_tokens=12
    )
    request = answer.id.removeprefix("chatcmpl-")
    file, text = tmp_path / "receipt.json", tmp_path / "answer.txt"
    text.write_text(answer.choices[0].message.content)
    until(
        lambda: (
            platform.command("receipt", "save", request, str(text), str(file), check=False).returncode == 0
        ),
        "a checkpoint over the request",
    )
    public = platform.home / "audit" / "log.pub"
    assert request in platform.command("receipt", "verify", str(file), "--key", str(public)).stdout
    data, key = file.read_bytes(), public.read_text()
    assert verify_receipt(data, key).entry["request"] == request
    for place in range(len(data)):
        for bit in (0x01, 0x20):
            changed = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
            with pytest.raises(ReceiptInvalid):
                verify_receipt(changed, key)
    file.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    refused = platform.command("receipt", "verify", str(file), "--key", str(public), check=False)
    assert refused.returncode == 1
    assert "NOT valid" in refused.stderr
    file.write_bytes(data)
    another = str(Signer("freehold.local/audit", random.Random(3).randbytes(32)).verifier)
    refused = platform.command("receipt", "verify", str(file), "--key", another, check=False)
    assert refused.returncode == 1
    assert "NOT valid" in refused.stderr


def test_a_receipt_is_not_saved_for_another_answer(platform: Running, demo: str, tmp_path: Path) -> None:
    text = tmp_path / "answer.txt"
    text.write_text("Something that was never said.")
    request = request_of(demo, "plain")
    done = platform.command("receipt", "save", request, str(text), str(tmp_path / "file"), check=False)
    assert done.returncode == 1
    assert "hash of another answer" in done.stderr
    assert not (tmp_path / "file").exists()


def test_a_receipt_is_verified_without_any_platform(platform: Running, demo: str, tmp_path: Path) -> None:
    kept = platform.home / "receipts" / f"{request_of(demo, 'plain')}.json"
    public = (platform.home / "audit" / "log.pub").read_text()
    environment = {**platform.environment, "FREEHOLD_HOME": str(tmp_path / "none")}
    done = freehold("receipt", "verify", str(kept), "--key", public.strip(), environment=environment)
    assert done.returncode == 0, done.stderr


def test_a_name_is_shown_as_it_is_and_is_no_markup(platform: Running) -> None:
    platform.command("keys", "create", "--project", "demo-project", "--name", "[bold]x[/red]")
    assert "[bold]x[/red]" in platform.command("keys", "list").stdout


def test_budgets_prices_and_models_are_listed(platform: Running) -> None:
    assert "organisation" in platform.command("budgets", "list").stdout
    assert row(platform.command("prices", "list").stdout, MODEL)[:3] == ["1", "0.1", "USD"]
    assert row(platform.command("models", "list").stdout, MODEL)[0] == "4096"


def test_demo_env_holds_four_values_for_its_owner_only(platform: Running) -> None:
    file = platform.home / "demo.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(platform.demo) == {
        "OPENAI_BASE_URL",
        "OPENAI_API_KEY",
        "FREEHOLD_ADMIN_KEY",
        "FREEHOLD_GRPC_TARGET",
    }
    for secret in (platform.home / "secrets").iterdir():
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def example(platform: Running, command: str) -> str:
    """What the welcome says to type, as a shell gets it."""
    text = platform.output[platform.output.index("In another shell:") :]
    blocks = ["\n".join(line[2:] for line in block.splitlines()) for block in text.split("\n\n")]
    return next(block for block in blocks if block.startswith(command))


@pytest.mark.parametrize("command", ["curl", "python"])
def test_what_the_welcome_says_works_as_it_is_printed(platform: Running, command: str) -> None:
    settings = f"set -a; . {platform.home}/demo.env; set +a"
    assert settings in platform.output
    done = subprocess.run(
        ["bash", "-euc", f"{settings}\n{example(platform, command)}"],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) > 1
    assert '"error"' not in done.stdout


def test_what_the_welcome_gives_grpcurl_is_a_request(platform: Running) -> None:
    request = Parse(example(platform, "grpcurl").split("'")[1], CompleteRequest())
    with grpc.insecure_channel(platform.grpc_target) as channel:
        metadata = (("authorization", f"Bearer {platform.key}"),)
        parts = list(CompletionsStub(channel).Complete(request, metadata=metadata))
    assert parts[-1].HasField("finished")


def test_the_welcome_fits_a_small_terminal(platform: Running) -> None:
    lines = platform.output[platform.output.index("Freehold is ready") :].splitlines()
    assert len(lines) <= 23
    assert max(len(line) for line in lines if str(platform.home) not in line) <= 80


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("keys", "create", "--project", "none"), "there is no project none"),
        (("keys", "create", "--project", "demo-project", "--role", "king"), "roles must be some of"),
        (("keys", "revoke", "none"), "no such key"),
        (("organisations", "share", "none", "5"), "there is no organisation none"),
        (("budgets", "set", "key", "none", "1"), "there is no key none"),
        (("budgets", "set", "organisation", "demo", "nan"), "must be 0 or more"),
        (("budgets", "set", "organisation", "demo", "1e20"), "the most that can be counted"),
        (("ledger", "verify", "--organisation", "none"), "there is no organisation none"),
        (("receipt", "verify", "/dev/null", "--key", "none"), "neither a file"),
    ],
)
def test_a_mistake_gets_a_sentence(platform: Running, arguments: tuple[str, ...], said: str) -> None:
    done = platform.command(*arguments, check=False)
    assert done.returncode in {1, 2}
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_platform_a_command_says_where_it_looked(tmp_path: Path, platform: Running) -> None:
    environment = {**platform.environment, "FREEHOLD_HOME": str(tmp_path / "none")}
    for command in ("status", "demo"):
        done = freehold(command, environment=environment)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert str(tmp_path / "none") in done.stderr
        assert "make run" in done.stderr

"""Write `ops/settings.md`: every setting of every process, from the settings classes themselves.

python ops/settings_table.py [--check]
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from shared.settings import GIVEN  # noqa: E402 - found once the path is known

TARGET = ROOT / "ops" / "settings.md"

SECTIONS = (
    ("Every process of `freehold serve`", "services.cli.deployed.settings", "ProcessSettings"),
    (
        "TLS between services: every process, and the command line",
        "shared.rpc.tls_settings",
        "RpcTlsSettings",
    ),
    ("Kafka: every process, and `freehold topics`", "shared.bus.kafka_settings", "KafkaSettings"),
    (
        "PostgreSQL: control, billing, audit, and `freehold migrate`",
        "shared.storage.settings",
        "DatabaseSettings",
    ),
    ("Traces and logs: every process", "shared.telemetry.settings", "TelemetrySettings"),
    ("Edge", "services.edge.settings", "EdgeSettings"),
    ("Control", "services.control.settings", "ControlSettings"),
    ("Tokenizer", "services.tokenizer.settings", "TokenizerSettings"),
    ("Moderation", "services.moderation.settings", "ModerationSettings"),
    ("Inference", "services.inference.settings", "InferenceSettings"),
    ("Billing", "services.billing.settings", "BillingSettings"),
    ("Audit", "services.audit.settings", "AuditSettings"),
    ("`freehold welcome`", "services.cli.deployed.settings", "WelcomeSettings"),
    ("`freehold up`, all in one process", "services.cli.embedded.settings", "EmbeddedSettings"),
)

HEAD = """# Settings

Every setting is an environment variable. Each may be given as a file as well, as container platforms hand
secrets over: `NAME_FILE=/run/secrets/name`. A value that does not fit ends the process at its start with one
line that names the variable. Made by `python ops/settings_table.py` from the settings classes.
"""


def variables(name: str, field: FieldInfo, prefix: str) -> str:
    """What the environment calls a field."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return "`, `".join(str(choice) for choice in alias.choices)
    return f"{prefix}{name}".upper()


def default(field: FieldInfo) -> str:
    """Of a field, in words."""
    if field.default_factory is not None:
        made = field.default_factory() if field.default_factory in (dict, list) else None  # type: ignore[call-arg]
        return "" if made is not None else "made at start"
    value: Any = field.default
    if value is PydanticUndefined:
        return "must be set"
    if isinstance(value, SecretStr) or value in ("", None, (), frozenset()):
        return ""
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    return _shown(value)


def _shown(value: object) -> str:
    if isinstance(value, Path) and value.is_relative_to(ROOT):
        value = value.relative_to(ROOT)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def kind(annotation: Any) -> str:
    """The choices of a field that has few."""
    if get_origin(annotation) is Literal:
        return " One of " + ", ".join(f"`{choice}`" for choice in get_args(annotation)) + "."
    return ""


def rows(module: str, name: str) -> Iterator[str]:
    """One row a field. Raises `ValueError` for a field without words."""
    settings = getattr(importlib.import_module(module), name)
    prefix = settings.model_config.get("env_prefix", "")
    for field_name, field in settings.model_fields.items():
        if field.json_schema_extra == GIVEN:
            continue
        if not field.description:
            raise ValueError(f"{name}.{field_name} has no description")
        words = " ".join(field.description.split()) + kind(field.annotation)
        cells = (f"`{variables(field_name, field, prefix)}`", default(field), words.replace("|", "&#124;"))
        yield f"| {' | '.join(cells)} |"


def table() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, module, name in SECTIONS:
        parts += ["", f"## {title}", "", "| variable | default | meaning |", "| --- | --- | --- |"]
        parts += rows(module, name)
    return "\n".join(parts) + "\n"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where the page is stale")
    made = table()
    if not parser.parse_args().check:
        TARGET.write_text(made, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != made:
        sys.exit("ops/settings.md is stale: run `python ops/settings_table.py`")


if __name__ == "__main__":
    main()

"""What is wrong with the environment, in words."""

from __future__ import annotations

from pydantic import SecretStr, ValidationError

from shared.settings import Settings


def faults(error: ValidationError) -> str:
    """In one line, by the names that its user set; a secret is not told."""
    kinds = {kind.__name__: kind for kind in Settings.__subclasses__()}
    kind = kinds.get(error.title, Settings)
    secret = {name for name, field in kind.model_fields.items() if field.annotation is SecretStr}
    prefix = kind.model_config.get("env_prefix") or ""
    found = []
    for fault in error.errors():
        name = "_".join(str(part) for part in fault["loc"])
        shown = name if name.isupper() else f"{prefix}{name}".upper()
        given = "" if name in secret else f"={fault['input']}"
        found.append(f"{shown}{given}: {fault['msg'][:1].lower()}{fault['msg'][1:]}")
    return "; ".join(found)

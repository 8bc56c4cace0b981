"""What an installation offers, as control publishes it: models by manifest, policies by pack."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from services.inference.served import as_served
from services.moderation.matching.pack import PackError, load_pack
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.errors import FreeholdError, Kind
from shared.models.manifest import Manifest

CREATED_S = 1_730_000_000
"""Of a model, as `/v1/models` shows it; a constant, so that a restart changes nothing."""


def offered_model(engine: Literal["llama", "synthetic"], manifest: Manifest) -> pb.Model:
    """The model as the configuration names it where this engine serves it."""
    served = as_served(engine, manifest)
    return pb.Model(
        name=served.name,
        weights_digest=served.weights_sha256,
        tokenizer_digest=served.tokenizer_sha256,
        template_digest=served.template_sha256,
        context=served.context,
        default_output=served.default_max_tokens,
        expand=served.bound.expand,
        per_message=served.bound.per_message,
        fixed=served.bound.fixed,
        licence=served.licence,
        created_s=CREATED_S,
    )


def offered_policies(folder: Path) -> list[pb.Policy]:
    """Every pack of the folder. Raises `FreeholdError` for one that does not load, and where there is none:
    without a policy nothing would be screened.
    """
    found = []
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise FreeholdError(Kind.NOT_READY, f"policy packs: {folder} holds no file *.yaml")
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
            pack = load_pack(text)
        except (PackError, OSError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise FreeholdError(Kind.NOT_READY, f"policy pack {path}: {reason}") from error
        found.append(pb.Policy(id=pack.id, pack=text, version=pack.version))
    return found

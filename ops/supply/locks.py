"""Check that each lock says exactly what is installed: a version and hashes, no address, no option."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ops.supply.parts import LOCKS, ROOT, SHIPPED, packages

NPM = "ops/contracts/package-lock.json"
MAVEN = ("ops/kafka/pom.xml", "ops/postgres/pom.xml")
_LINE = re.compile(r"(#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+ \\|--hash=sha256:[0-9a-f]{64}( \\)?|)")


def complaints_of_pip(name: str, text: str) -> Iterator[str]:
    """What else than pins, hashes and remarks a lock holds."""
    for number, line in enumerate(text.splitlines(), 1):
        if not _LINE.fullmatch(line.strip()):
            yield f"{name}:{number}: {line.strip()[:80]!r} is neither a pin, nor a hash, nor a remark"


def complaints_of_pins(name: str, lock: Path) -> Iterator[str]:
    """Which pins have no hash."""
    for package in packages(lock):
        if not package.hashes:
            yield f"{name}: {package.name} has no hash"


def complaints_of_npm(name: str, text: str) -> Iterator[str]:
    """Which packages of npm's lock are not pinned by SHA-512, or bring an address."""
    for path, entry in json.loads(text)["packages"].items():
        if path and not str(entry.get("integrity", "")).startswith("sha512-"):
            yield f"{name}: {path} has no sha512"
        if "resolved" in entry:
            yield f"{name}: {path} names an address: {entry['resolved']}"


def complaints_of_maven(name: str, text: str) -> Iterator[str]:
    """Versions that may become others, and repositories beside the central one."""
    for version in re.findall(r"<version>(.*?)</version>", text):
        if not re.fullmatch(r"[0-9][A-Za-z0-9._-]*", version) or "SNAPSHOT" in version:
            yield f"{name}: {version} is no exact version"
    if "<repositor" in text:
        yield f"{name} names a repository"


def disagreements() -> Iterator[str]:
    """Packages that the locks pin to different versions."""
    shipped = {one.name: one.version for lock in SHIPPED for one in packages(ROOT / lock)}
    for one in packages(ROOT / "requirements-dev.txt"):
        if shipped.get(one.name, one.version) != one.version:
            yield f"{one.name} is {one.version} for development and {shipped[one.name]} where it ships"


def main() -> None:
    """Entry point."""
    found = list(disagreements())
    for name in LOCKS:
        found += complaints_of_pip(name, (ROOT / name).read_text(encoding="utf-8"))
        found += complaints_of_pins(name, ROOT / name)
    found += complaints_of_npm(NPM, (ROOT / NPM).read_text(encoding="utf-8"))
    for name in MAVEN:
        found += complaints_of_maven(name, (ROOT / name).read_text(encoding="utf-8"))
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()

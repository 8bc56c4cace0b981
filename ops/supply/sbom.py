"""A software bill of materials of what ships, in CycloneDX 1.6 JSON: `make sbom`.

One document for everything; each package says which images hold it. Checked against CycloneDX's own schema,
which needs no network. The same locks give the same document, byte for byte, but for its time.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from ops.supply.licences import KNOWN
from ops.supply.parts import Image, Package, images, licence, sets_of, shipped, weights
from shared.rpc.platform import VERSION

NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
"""Of names that are URLs (RFC 9562); the serial number is made from the parts."""
TARGET = Path("build") / "freehold.cdx.json"
_LICENCES = LicenseFactory()


def python(package: Package) -> Component:
    """A Python package as its lock pins it. Raises `PackageNotFoundError`."""
    said = KNOWN.get(package.name) or licence(package.name)
    purl = PackageURL("pypi", name=package.name, version=package.version)
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        purl=purl,
        bom_ref=str(purl),
        licenses=[_LICENCES.make_from_string(said)] if said else (),
        properties=[
            *(Property(name="freehold:image-set", value=name) for name in sets_of(package.name)),
            *(Property(name="freehold:file-sha256", value=digest) for digest in sorted(package.hashes)),
        ],
    )


def model(found: dict[str, str]) -> Component:
    """Weights."""
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=found["name"],
        description=found["source"],
        bom_ref=f"model:{found['name']}",
        licenses=[_LICENCES.make_from_string(found["licence"])],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=found["sha256"])],
    )


def container(image: Image) -> Component:
    """A public image; `make pin-images` pins it by digest."""
    purl = PackageURL("docker", *_split(image.name), version=image.tag)
    return Component(
        type=ComponentType.CONTAINER, name=image.name, version=image.tag, purl=purl, bom_ref=str(purl)
    )


def _split(name: str) -> tuple[str | None, str]:
    namespace, _, last = name.rpartition("/")
    return namespace or None, last


def components() -> Iterator[Component]:
    """All parts."""
    yield from map(python, shipped())
    yield from map(model, weights())
    yield from map(container, images())


def document(now: datetime) -> str:
    """The whole bill. Raises `PackageNotFoundError` where a package of the lock is not installed here."""
    ours = Component(
        type=ComponentType.APPLICATION,
        name="freehold",
        version=VERSION,
        bom_ref="freehold",
        licenses=[_LICENCES.make_from_string("Apache-2.0")],
    )
    parts = sorted(components(), key=lambda part: str(part.bom_ref))
    names = "\n".join(f"{part.bom_ref} {part.licenses}" for part in parts)
    bom = Bom(components=parts, serial_number=uuid.uuid5(NAMESPACE, names))
    bom.metadata.component, bom.metadata.timestamp = ours, now
    bom.register_dependency(ours, parts)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def complaint(text: str) -> str:
    """What CycloneDX's schema has against a document; empty where nothing."""
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return "" if found is None else repr(found)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", type=Path, default=TARGET)
    target = parser.parse_args().target
    try:
        text = document(datetime.now(UTC).replace(microsecond=0))
    except PackageNotFoundError as error:
        sys.exit(f"{error.name} is in the lock and not installed here: `make test` installs it")
    if wrong := complaint(text):
        sys.exit(f"the bill does not fit CycloneDX's schema: {wrong}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    print(f"{target}: {len(list(components()))} parts")


if __name__ == "__main__":
    main()

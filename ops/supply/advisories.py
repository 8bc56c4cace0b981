"""Check the locks against known advisories, from a file: an export of OSV's database for PyPI.

It has no network of its own: `make audit-locks OSV=all.zip` takes the archive that OSV publishes for PyPI, or
a folder of its files. It ends with 1 and one line for each advisory that a pin falls under; with 2, and why,
where nothing could be checked: that is no pass.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ops.supply.parts import LOCKS, ROOT, packages

CHECKED, FOUND, NOT_CHECKED = 0, 1, 2
_NEEDED = (
    "nothing was checked: give the export of OSV's database for PyPI, the archive all.zip of its PyPI folder"
    " or a folder of its JSON files: make audit-locks OSV=PATH"
)


def advisories(path: Path) -> Iterator[Mapping[str, Any]]:
    """Those of an archive or a folder. Raises `OSError`, `ValueError` and `zipfile.BadZipFile`."""
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            yield json.loads(file.read_bytes())
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                yield json.loads(archive.read(name))


def hits(found: Iterable[Mapping[str, Any]], pins: Mapping[str, str]) -> Iterator[str]:
    """One line for each pin that an advisory names; withdrawn advisories do not count."""
    for advisory in found:
        if advisory.get("withdrawn"):
            continue
        for affected in advisory.get("affected", ()):
            package = affected.get("package", {})
            name = canonicalize_name(str(package.get("name", "")))
            version = pins.get(name) if package.get("ecosystem") == "PyPI" else None
            if version is not None and _affects(affected, version):
                yield f"{name} {version}: {advisory['id']} {str(advisory.get('summary', '')).strip()}".strip()


def _affects(affected: Mapping[str, Any], version: str) -> bool:
    if version in affected.get("versions", ()):
        return True
    ranges = (one["events"] for one in affected.get("ranges", ()) if one.get("type") == "ECOSYSTEM")
    return any(_within(events, Version(version)) for events in ranges)


def _within(events: Sequence[Mapping[str, str]], version: Version) -> bool:
    """As OSV's schema has it: the last event at or before the version counts."""
    inside = False
    for event in sorted(events, key=_at):
        if _at(event) > version:
            break
        inside = "introduced" in event or ("last_affected" in event and _at(event) == version)
    return inside


def _at(event: Mapping[str, str]) -> Version:
    text = next((event[kind] for kind in ("introduced", "fixed", "last_affected") if kind in event), "")
    try:
        return Version("0.dev0" if text == "0" else text)
    except InvalidVersion:
        return Version("0.dev0")


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    if len(arguments) != 1 or not arguments[0]:
        print(_NEEDED, file=sys.stderr)
        return NOT_CHECKED
    pins = {canonicalize_name(one.name): one.version for lock in LOCKS for one in packages(ROOT / lock)}
    try:
        known = list(advisories(Path(arguments[0])))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        print(f"{arguments[0]}: {error}; {_NEEDED}", file=sys.stderr)
        return NOT_CHECKED
    if not known:
        print(f"{arguments[0]} holds no advisory; {_NEEDED}", file=sys.stderr)
        return NOT_CHECKED
    found = sorted(set(hits(known, pins)))
    print("\n".join([*found, f"{len(known)} advisories, {len(pins)} pins, {len(found)} hits"]))
    return FOUND if found else CHECKED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

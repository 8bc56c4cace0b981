"""How many files and connections this process may have open."""

from __future__ import annotations

import logging
import resource

ENOUGH = 65_536

log = logging.getLogger(__name__)


def allow_connections() -> None:
    """Raise the soft limit, 1,024 on many systems, as far as the hard one allows and anybody needs: every
    connection takes a file descriptor.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        log.debug("open files: %d instead of %d", wanted, soft)

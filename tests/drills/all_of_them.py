"""Every drill, in the order of the report."""

import re

from tests.drills import (  # noqa: F401 - registers
    brokers,
    dying,
    hanging,
    leaving,
    machines,
    orders,
    overload,
    poisoned,
    splice,
    storms,
    trust,
    vetting,
    wires,
)
from tests.drills.drill import DRILLS as REGISTERED
from tests.drills.drill import Drill


def _place(drill: Drill) -> tuple[bool, int]:
    number = re.match(r"F(\d+)", drill.id)
    return number is None, int(number[1]) if number else 0


DRILLS = {drill.id: drill for drill in sorted(REGISTERED.values(), key=_place)}
"""By id: those of the catalogue by their number, then the others."""

"""Every drill, in the order of the report."""

from tests.drills import dying, hanging, leaving, machines, orders, overload, poisoned, storms, trust, wires  # noqa: F401 - registers
from tests.drills.drill import DRILLS

__all__ = ["DRILLS"]

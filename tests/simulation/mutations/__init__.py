"""Bugs put in by hand, to see that the simulator finds them."""

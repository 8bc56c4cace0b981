"""A request's states, pure: no I/O, no HTTP, no clock; an owner is not a connection."""

"""The whole platform in one process, on the local bus and SQLite: what `freehold up` runs."""

"""One service as a process of its own, over Kafka and PostgreSQL: what `freehold serve` runs."""

"""The owner of requests: what carries the states out."""

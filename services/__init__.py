"""The services of the platform. None of them imports another."""

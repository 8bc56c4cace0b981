"""HTTP in front of the owner: a strict protocol, the routes, answers and streams."""

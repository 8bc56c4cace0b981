"""What ships, from where, under which licence, and whether something is known against it."""

"""Engines behind the port in `engine.py`, and how an id is drawn."""

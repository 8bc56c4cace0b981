"""Moderation: what the organisation's policy makes of a request and of its answer."""

"""Freehold beside two gateways of the field, before one backend of the same pace."""

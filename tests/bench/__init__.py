"""Measurements. Each prints JSON; a figure stands beside its anchor from the same run."""

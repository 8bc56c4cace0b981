"""Packs and how they match: folding, bounded patterns, one pass over a text. Pure."""

"""Billing's books: every transaction on its tables, and what is read from them."""

"""The formats of the transparency log and of receipts, and their verifier. Pure."""

"""Model files: the manifest that names them, their digests, and their metadata."""

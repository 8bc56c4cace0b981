"""The command line, and the one place that knows every service: it builds the embedded platform."""

import os

# gRPC's C core writes notes to standard error in a format of its own; errors reach us as exceptions.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

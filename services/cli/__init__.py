"""The command line, and the one place that knows every service: it builds all of them or one a process."""

import os

# gRPC's C core writes notes to standard error in a format of its own; errors reach us as exceptions.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# llama.cpp's OpenMP threads wait for each other some microseconds, then sleep. They spin for milliseconds by
# default, which costs a time slice for each layer as soon as anything else wants a core: beside other work
# 5 to 34 tokens/s became 44 to 123; on a machine of its own nothing changes.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

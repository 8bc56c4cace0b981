"""The command line, and the one place that knows every service: it builds the embedded platform."""

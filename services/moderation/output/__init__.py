"""The output of a model behind its hold-back window. No I/O."""

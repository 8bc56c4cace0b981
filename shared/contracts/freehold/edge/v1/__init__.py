"""Generated from proto/ by ops/contracts/generate; not edited."""

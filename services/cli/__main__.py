"""`python -m services.cli` is `freehold`."""

from services.cli.main import main

main()

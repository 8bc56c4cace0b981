"""What holds for every test."""

import services.cli  # noqa: F401 - sets how llama.cpp's threads wait, before any test loads the library

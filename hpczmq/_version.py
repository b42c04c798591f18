"""The version, alone here so that the build reads it without importing the package."""

from typing import Final

__version__: Final = "0.1.0"

"""The version, in a module below everything that tells it."""

__version__ = "0.1.0"

"""Outweigh: energy as a first-class engineering budget for AI."""

__version__ = "0.1.0"

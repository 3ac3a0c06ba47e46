"""The recipes that are shipped, and where they lie. Imports nothing heavy: the help page lists them."""

from __future__ import annotations

from pathlib import Path


def shipped() -> dict[str, Path]:
    """The recipes that come with the package: name to file."""
    return {path.stem: path for path in Path(__file__).parent.glob("*.toml")}

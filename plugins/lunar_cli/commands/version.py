"""``lunar version``: what to quote in a report."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata

import click

#: Distributions whose versions decide what a run computes.
NAMED = ("lunarlearn", "numpy", "ml_dtypes", "pluggy", "attrs", "cupy-cuda12x", "cupy-cuda13x")


@click.command()
def version() -> None:
    """Show the versions of LunarLearn, Python and the libraries that matter for a run."""
    rows = {"python": f"{platform.python_version()} ({platform.system()} {platform.machine()})"}
    for name in NAMED:
        with contextlib.suppress(metadata.PackageNotFoundError):
            rows[name] = metadata.version(name)
    for name, value in sorted(rows.items(), key=lambda row: row[0] != NAMED[0]):
        click.echo(f"{name:<12} {value}")

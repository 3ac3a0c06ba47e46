"""``lunar version``: what to quote in a report."""

from __future__ import annotations

import platform
from importlib import metadata

import click

#: Distributions whose versions decide what a run computes.
NAMED = ("lunarlearn", "numpy", "ml_dtypes", "pluggy", "attrs", "cupy-cuda12x", "cupy-cuda13x")


@click.command()
def version() -> None:
    """Show the versions of LunarLearn, Python and the libraries that matter for a run."""
    click.echo(f"lunar    {metadata.version('lunarlearn')}")
    click.echo(f"python   {platform.python_version()} ({platform.system()} {platform.machine()})")
    for name in NAMED[1:]:
        try:
            click.echo(f"{name:<8} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue

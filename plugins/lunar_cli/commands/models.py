"""``lunar models``: the architectures that are installed."""

from __future__ import annotations

import click


@click.command()
@click.argument("pattern", default="*")
def models(pattern: str) -> None:
    """List the model architectures that are installed, or those whose name fits PATTERN.

    Nothing is imported; the descriptions are read from the source.
    """
    from lunar_cli.console import table
    from lunar_cli.summary import summary
    from lunar_core.plugins import registry

    rows = []
    for name in registry.names("model", pattern):
        info = registry.info("model", name)
        rows.append((name, summary(info.target), f"{info.dist} {info.version}".strip()))
    table(("model", "description", "package"), rows, {"model": "cyan", "package": "dim"})

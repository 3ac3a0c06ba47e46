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
    from lunar_core.errors import UnknownNameError
    from lunar_core.plugins import registry
    from lunar_core.suggest import did_you_mean

    names = registry.names("model", pattern)
    if not names:
        guess = did_you_mean(pattern, registry.names("model"))
        raise UnknownNameError(f"no model fits {pattern!r}" + (f"; {guess}" if guess else ""))
    rows = []
    for name in names:
        info = registry.info("model", name)
        rows.append((name, summary(info.target), f"{info.dist} {info.version}".strip()))
    table(("model", "description", "package"), rows, {"model": "cyan", "package": "dim"})

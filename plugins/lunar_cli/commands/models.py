"""``lunar models``: the architectures that are installed."""

from __future__ import annotations

import click


@click.command()
@click.argument("pattern", default="*")
@click.option("--summary", "layers", is_flag=True, help="Show the layers of each: shapes, parameters, memory, FLOPs.")
@click.option("--input", "shape", metavar="SHAPE", help="Shape of one example for --summary, such as 3x224x224.")
@click.option("--depth", type=click.IntRange(0), help="Levels of the model that --summary shows.")
def models(pattern: str, layers: bool, shape: str | None, depth: int | None) -> None:
    """List the model architectures that are installed, or those whose name fits PATTERN.

    Nothing is imported; the descriptions are read from the source. With --summary the models are made and shown layer
    by layer; nothing is computed.
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
    if layers or shape or depth is not None:
        for name in names:
            _show(name, _shape(shape), depth)
        return
    rows = []
    for name in names:
        info = registry.info("model", name)
        rows.append((name, summary(info.target), f"{info.dist} {info.version}".strip()))
    table(("model", "description", "package"), rows, {"model": "cyan", "package": "dim"})


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    sizes = text.replace(",", "x").split("x")
    if not all(size.isdigit() and int(size) for size in sizes):
        raise click.BadParameter(f"{text!r} is no shape; write 3x224x224", param_hint="--input")
    return tuple(map(int, sizes))


def _show(name: str, shape: tuple[int, ...] | None, depth: int | None) -> None:
    import lunar_core as lc

    model = lc.create("model", name)
    if shape is None and getattr(model, "input_shape", None) is None:
        raise click.UsageError(f"{name} does not say the shape of its input; give it: --input 3x224x224")
    click.secho(name, bold=True)
    click.echo(lc.summary(model, (1, *shape), depth=depth) if shape else lc.summary(model, depth=depth))

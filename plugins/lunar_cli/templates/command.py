"""``lunar template_entry``."""

from __future__ import annotations

import click


@click.command()
@click.argument("model")
@click.option("--shape", default="1x8x8", show_default=True, help="Shape of one example, such as 3x32x32.")
def template_entry(model: str, shape: str) -> None:
    """Count the parameters of the model architecture MODEL, by their names."""
    # Imported here, so that `lunar --help` and other commands do not wait for it.
    import lunar_core as lc

    built = lc.models[model](input_shape=tuple(int(n) for n in shape.split("x")))
    for name, parameter in built.named_parameters():
        click.echo(f"{parameter.size:>10,}  {name}")
    click.echo(f"{built.num_parameters():>10,}  in all")

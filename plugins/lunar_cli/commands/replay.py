"""``lunar replay``: run a recorded step again and name the first bad op."""

from __future__ import annotations

from typing import Any

import click


@click.command()
@click.argument("bundle", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--model",
    "factory",
    metavar="MODULE:FUNCTION",
    help="Makes the model, where it is no component with a configuration. It is imported from the current directory too.",
)
@click.option("--ops", is_flag=True, help="Show every op with the range of its values.")
def replay(bundle: str, factory: str | None, ops: bool) -> None:
    """Run the training step of BUNDLE again, as the callback flight_recorder wrote it.

    Weights, batch and random numbers are those of the step. Told are the first op whose result is not finite, the module
    in which it was applied, the examples, and whether every op gave what it gave then.
    """
    from lunar_cli.console import table
    from lunar_training.replay import replay as run

    result = run(bundle, model=None if factory is None else _made(factory))
    if ops:
        rows = [
            (str(i + 1), r.phase, r.op, r.module, f"{r.low:.6g}", f"{r.high:.6g}", str(r.nonfinite))
            for i, r in enumerate(result.rows)
        ]
        table(("#", "phase", "op", "module", "min", "max", "non-finite"), rows, {"op": "cyan"})
        click.echo()
    click.echo(result.text())


def _made(factory: str) -> Any:
    import importlib
    import os
    import sys

    module, colon, name = factory.partition(":")
    if not colon:
        raise click.BadParameter(f"{factory!r}: write module:function", param_hint="--model")
    sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError) as exc:
        raise click.BadParameter(f"{factory!r}: {exc}", param_hint="--model") from exc

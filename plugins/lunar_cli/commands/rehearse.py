"""``lunar rehearse``: what is worth knowing before a long run."""

from __future__ import annotations

from typing import Any

import click

WHAT = ("dry-run", "overfit", "lr", "batch-size")


@click.command()
@click.argument("name", metavar="NAME|FILE")
@click.option(
    "--what", multiple=True, type=click.Choice(WHAT), help="Only this. Repeatable; by default all but batch-size."
)
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change an entry of the recipe, as in train."
)
@click.option("--plot", "path", type=click.Path(dir_okay=False), help="Draw loss over learning rate into this file.")
@click.option("--steps", type=click.IntRange(10), default=100, show_default=True, help="Steps of overfit and lr.")
def rehearse(name: str, what: tuple[str, ...], assignments: tuple[str, ...], path: str | None, steps: int) -> None:
    """Try out a recipe before it runs; nothing is written but the plot.

    dry-run sends one batch through every hook, evaluation, prediction, saving and loading. overfit learns one batch by
    heart. lr trains while the learning rate grows and suggests one. batch-size doubles the batch until it does not fit.
    """
    import numpy as np

    from lunar_cli import recipe as recipes
    from lunar_cli.making import trainer_of
    from lunar_training import dry_run, find_batch_size, lr_find, overfit

    parts = recipes.build(recipes.override(recipes.read(name), list(assignments)))
    trainer, size = trainer_of(parts), parts.settings.batch_size
    with np.errstate(all="ignore"):
        for one in what or WHAT[:3]:
            if one == "dry-run":
                _say(one, str(dry_run(trainer, parts.train, parts.val, batch_size=size)))
            elif one == "overfit":
                _say(one, str(overfit(trainer, parts.train, batch_size=size, steps=steps)))
            elif one == "lr":
                _say(one, _rates(lr_find(trainer, parts.train, batch_size=size, steps=steps), path))
            else:
                _sizes(find_batch_size(trainer, parts.train, start=min(size, 8)))


def _say(what: str, text: str) -> None:
    click.secho(what, bold=True)
    click.echo("  " + text.replace("\n", "\n  "))


def _rates(found: Any, path: str | None) -> str:
    if found.suggestion is None:
        text = "the loss did not fall at any learning rate"
    else:
        text = f"suggestion {found.suggestion:.2g}; the loss is lowest at {found.lowest:.2g} ({len(found.rates)} steps)"
    if path is not None:
        found.plot(path)
        text += f"\ncurve in {path}"
    return text


def _sizes(found: Any) -> None:
    from lunar_cli.console import table

    click.secho("batch-size", bold=True)
    rows = [
        (str(t.size), "yes" if t.fits else "no", f"{t.samples_per_second:.0f}", f"{t.peak_bytes / 2**20:.1f}")
        for t in found.trials
    ]
    table(("size", "fits", "samples/s", "peak MiB"), rows)
    click.echo(f"largest {found.largest}, fastest {found.fastest}")

"""``lunar train``: run a recipe."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from typing import Any

import click

FIGURES = "test.json"  # the last file that a run writes


class _Recipe(click.ParamType):
    """The argument NAME, completed from the shipped recipes."""

    name = "recipe"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        from lunar_cli.recipes import shipped

        found = [CompletionItem(name) for name in sorted(shipped()) if name.startswith(incomplete)]
        return [*found, CompletionItem(incomplete, type="file")]


class _Train(click.Command):
    """Adds the shipped recipes to the help page, read when it is shown."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        import tomllib

        from lunar_cli.recipes import shipped

        rows = []
        for name, path in sorted(shipped().items()):
            rows.append((name, tomllib.loads(path.read_text("utf-8")).get("description", "")))
        with formatter.section("Recipes"):
            formatter.write_dl(rows)


@click.command(cls=_Train)
@click.argument("name", metavar="NAME|FILE", type=_Recipe())
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change an entry of the recipe: optimizer.lr=1e-3 sets a field, optimizer=lion takes another component by its "
    "registry name, scheduler=none takes an entry out. Repeatable.",
)
@click.option("--optimizer", metavar="NAME", help="Short for --set optimizer=NAME.")
@click.option("--epochs", type=int, metavar="N", help="Short for --set epochs=N.")
@click.option("--device", metavar="DEVICE", help="cpu, cuda or cuda:N.")
@click.option("--seed", type=int, metavar="N", help="Of initial weights, shuffling and dropout; not of the split.")
@click.option("--weights", metavar="FILE", help="Start from these weights (safetensors).")
@click.option("--out", metavar="DIR", help="Where to write the run; by default runs/NAME-TIME-SEED.")
@click.option("--fresh", is_flag=True, help="Begin anew, even if the same run was stopped before its end.")
def train(
    name: str,
    assignments: tuple[str, ...],
    optimizer: str | None,
    epochs: int | None,
    device: str | None,
    seed: int | None,
    weights: str | None,
    out: str | None,
    fresh: bool,
) -> None:
    """Train as a recipe says: the name of one that is shipped, a .toml file, or the directory of an earlier run.

    Shows the figures of each epoch, evaluates on the test data at the end, and writes configuration, history, checkpoints
    and weights to the run directory. A run that was stopped or killed goes on where its newest checkpoint was taken when
    the same command is given again: bit for bit as if nothing had happened.
    """
    from lunar_cli import recipe as recipes

    recipe = recipes.read(name)
    # The short forms go first, so that --set optimizer.lr=... means the optimizer that --optimizer chose.
    short = {"optimizer": optimizer, "epochs": epochs, "device": device, "seed": seed}
    recipe = recipes.override(
        recipe, [*(f"{key}={value}" for key, value in short.items() if value is not None), *assignments]
    )
    _run(recipe, weights, out, fresh, Path(name))


def _run(recipe: dict[str, Any], weights: str | None, out: str | None, fresh: bool, named: Path) -> None:
    import numpy as np

    import lunar_core as lc
    from lunar_cli import recipe as recipes
    from lunar_training import Trainer

    parts = recipes.build(recipe)
    settings, model = parts.settings, parts.model
    _rehearse(parts, settings.device)
    if weights is not None:
        model.load_state_dict(lc.load(weights))
    written = _WriteRecipe(recipes.resolved(recipe))
    stopped = None if fresh or weights is not None else _stopped_run(written.text, out, settings, named)
    folder = stopped or _run_directory(out, settings)
    trainer = Trainer(
        model,
        parts.loss,
        parts.optimizer,
        scheduler=parts.scheduler,
        metrics=parts.metrics,
        regularizers=parts.regularizers,
        plugins=[written, *parts.callbacks],
        device=settings.device,
        clip_norm=settings.clip_norm,
        micro_batches=settings.micro_batches,
    )
    _header(recipe, parts)
    if stopped is not None:
        click.echo(f"going on with {folder} (--fresh begins anew)\n")
    started = time.perf_counter()
    # Of a value that overflows the Trainer tells more, and once.
    with np.errstate(all="ignore"):
        try:
            trainer.fit(
                parts.train,
                parts.val,
                epochs=settings.epochs,
                batch_size=settings.batch_size,
                out=folder,
                resume=stopped is not None,
            )
        except (SystemExit, KeyboardInterrupt):
            click.echo(
                f"stopped after step {trainer.context.clock.step}; the same command goes on from there", err=True
            )
            raise
        took = time.perf_counter() - started
        figures = trainer.evaluate(parts.test)
    _write_figures(folder, figures)
    _footer(figures, len(parts.test), took, folder)


class _WriteRecipe:
    """A hook plugin that puts the recipe, as it was run, into the run directory, and holds the directory's lock."""

    band = "checkpoint"

    def __init__(self, recipe: dict[str, Any]) -> None:
        from lunar_cli.toml import dumps

        self.text = dumps(recipe)
        self.held = contextlib.ExitStack()

    def __repr__(self) -> str:  # stands in the run's list of plugins
        return "WriteRecipe()"

    def lunar_fit_start(self, ctx: Any) -> None:
        from lunar_core.serialize import atomic_file
        from lunar_training.transaction import locked

        with atomic_file(ctx.run_dir.file("config.toml")) as file:
            file.write(self.text.encode())
        self.held.enter_context(locked(ctx.run_dir.path, wait=False))

    def lunar_teardown(self) -> None:
        self.held.close()


def _rehearse(parts: Any, device: str) -> None:
    """Show the model two examples, so that what does not fit is said before anything is written.

    A model that learns its sizes from the first input is built by it; then its parameters can be counted and loaded.
    """
    import lunar_core as lc

    batch = parts.train[:2]
    parts.model.eval()  # no statistics are updated and no dropout mask is drawn
    with lc.no_grad():
        parts.loss.terms(parts.model(lc.Tensor(batch[0])), lc.Tensor(batch[1]))
    parts.model.train()
    parts.model.to(device)


def _stopped_run(text: str, out: str | None, settings: Any, named: Path) -> Path | None:
    """The directory of a run of the same recipe that was stopped before its end and that nobody is working on now.

    Looked for in ``out``, in ``named`` where that is a run's directory, and among those below runs/, the newest first.
    """
    from lunar_training.saving import is_run
    from lunar_training.transaction import locked

    if out is not None:
        candidates = [Path(out)]
    else:
        candidates = [named] if named.is_dir() else []
        candidates += sorted(Path("runs").glob(f"{_label(settings)}-*-{settings.seed}*"), reverse=True)
    for folder in candidates:
        config = folder / "config.toml"
        if not config.is_file() or (folder / FIGURES).exists() or not is_run(folder):
            continue
        if config.read_text("utf-8") == text:
            with locked(folder, wait=False) as free:
                if free:
                    return folder
    return None


def _label(settings: Any) -> str:
    return re.sub(r"[^\w.-]+", "-", settings.name).strip(".-") or "run"


def _run_directory(out: str | None, settings: Any) -> Path:
    """The directory asked for, or a new one below runs/. The Trainer refuses one that holds a run."""
    if out is not None:
        return Path(out)
    base = Path("runs", f"{_label(settings)}-{time.strftime('%Y%m%d-%H%M%S')}-{settings.seed}")
    folder, count = base, 1
    while folder.exists():
        count += 1
        folder = base.with_name(f"{base.name}-{count}")
    return folder


def _write_figures(folder: Path, figures: dict[str, Any]) -> None:
    import json

    from lunar_core.serialize import atomic_file

    with atomic_file(folder / FIGURES) as file:
        file.write((json.dumps(figures, indent=1) + "\n").encode())


def _header(recipe: dict[str, Any], parts: Any) -> None:
    settings, classes = parts.settings, parts.train.n_classes
    shape = " x ".join(map(str, parts.train[0][0].shape))
    sizes = f"{len(parts.train):,} for training, "
    if parts.val is not None:
        sizes += f"{len(parts.val):,} for validation, "
    rows = {
        "dataset": f"{_named(recipe['dataset'])}: {sizes}{len(parts.test):,} for the test; {shape}"
        + (f", {classes} classes" if classes else ""),
        "model": f"{_named(recipe['model'])}: {parts.model.num_parameters():,} parameters",
        "optimizer": _named(recipe["optimizer"], parts.optimizer),
    }
    if parts.scheduler is not None:
        rows["scheduler"] = _named(recipe["scheduler"], parts.scheduler)
    rows["run"] = f"{settings.epochs} epochs, batches of {settings.batch_size}, seed {settings.seed}, {settings.device}"
    click.secho(settings.name, bold=True)
    for label, text in rows.items():
        click.echo(f"  {click.style(f'{label:<9}', dim=True)} {text}")
    click.echo()


def _named(table: dict[str, Any], component: Any = None) -> str:
    """``adamw (lr=0.002)``: the registry name, the learning rate, and the fields that differ from their defaults."""
    name = next(value for key, value in table.items() if key.startswith("@"))
    text = component.fields_repr() if hasattr(component, "fields_repr") else ""
    rate = getattr(component, "lr", None)
    if isinstance(rate, (int, float)) and not re.search(r"\blr=", text):
        text = f"lr={rate!r}" + (f", {text}" if text else "")
    return f"{name} ({text})" if text else name


def _footer(figures: dict[str, Any], examples: int, took: float, folder: Path) -> None:
    click.echo()
    shown = "  ".join(f"{name} {value:.4f}" for name, value in figures.items() if isinstance(value, float))
    click.secho(f"test  {shown}", bold=True, nl=False)
    click.echo(f"  ({examples:,} examples)")
    click.echo(f"trained in {took:.1f} s, written to {folder}")

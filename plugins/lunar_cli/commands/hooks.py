"""``lunar hooks``: the training loop in order, who runs where, and what each costs."""

from __future__ import annotations

from typing import Any

import click


@click.command()
@click.argument("name", metavar="[RECIPE]", required=False)
@click.option("--plugin", "callbacks", multiple=True, metavar="NAME", help="A callback that takes part. Repeatable.")
@click.option("--all", "everything", is_flag=True, help="Show the hooks that nothing implements as well.")
@click.option("--trace", is_flag=True, help="Train for some steps and show calls and milliseconds a step.")
@click.option("--steps", type=click.IntRange(1), default=50, show_default=True, help="Steps of --trace.")
@click.option("--doc", is_flag=True, help="Say what each hook is for.")
def hooks(name: str | None, callbacks: tuple[str, ...], everything: bool, trace: bool, steps: int, doc: bool) -> None:
    """Print the hooks of the training loop in their order, and who runs at each.

    Shown are the plugins of every run, those that are installed, the callbacks of RECIPE and those of --plugin, in the
    order in which they are called: by band, then by before= and after=. With --trace, RECIPE (by default digits-cnn) is
    trained for a few steps; nothing is written.
    """
    if trace:
        rows, bill, taken, seconds = _traced(name or "digits-cnn", callbacks, steps)
        _show(rows, everything, doc, taken)
        _show_bill(bill, taken, seconds)
    else:
        _show(_listed(name, callbacks), everything, doc, 0)


def _made(callbacks: tuple[str, ...]) -> list[Any]:
    import lunar_core as lc

    return [lc.create("callback", name) for name in callbacks]


def _listed(name: str | None, callbacks: tuple[str, ...]) -> list[dict[str, Any]]:
    from lunar_cli import recipe as recipes
    from lunar_core.config import from_config
    from lunar_core.hooks import Bus
    from lunar_core.plugins import registry
    from lunar_training.callbacks.history import HistoryRecorder
    from lunar_training.callbacks.progress import Progress

    tables = recipes.read(name).get("callbacks", []) if name else []
    registry.load_hook_plugins()
    plugins = [Progress(), HistoryRecorder(), *(from_config(table) for table in tables), *_made(callbacks)]
    return Bus(plugins, manager=registry.manager).describe()


class _Meter:
    """Switches timing on when a run begins, ends it after some steps and keeps what was measured."""

    band = "control"

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def lunar_setup(self, ctx: Any) -> None:
        ctx.bus.timing = True

    def lunar_fit_start(self, ctx: Any) -> None:
        import time

        self.started = time.perf_counter()

    def lunar_after_step(self, step: int, ctx: Any) -> None:
        if step >= self.steps:
            ctx.stop(f"{self.steps} steps are done")

    def lunar_fit_end(self, ctx: Any) -> None:
        import time

        self.seconds, self.taken = time.perf_counter() - self.started, ctx.clock.step

    def lunar_teardown(self, ctx: Any) -> None:
        self.rows, self.bill = ctx.bus.describe(), ctx.bus.bill()


def _traced(name: str, callbacks: tuple[str, ...], steps: int) -> tuple[list[Any], dict[str, Any], int, float]:
    from lunar_cli import recipe as recipes
    from lunar_cli.making import trainer_of

    parts = recipes.build(recipes.read(name))
    meter = _Meter(steps)
    trainer = trainer_of(parts, [meter, *_made(callbacks)])
    trainer.fit(parts.train, parts.val, epochs=parts.settings.epochs, batch_size=parts.settings.batch_size)
    return meter.rows, meter.bill, meter.taken, meter.seconds


def _show(rows: list[dict[str, Any]], everything: bool, doc: bool, steps: int) -> None:
    from lunar_cli.console import table
    from lunar_training.order import LOOP

    columns = ["hook", "kind", "plugin", "band", "order"]
    columns += ["calls/step", "ms/step"] if steps else []
    columns += ["what"] if doc else []
    lines: list[tuple[str, ...]] = []
    place = {f"lunar_{hook}": (i, depth) for i, (hook, depth) in enumerate(LOOP)}
    rows = sorted(rows, key=lambda row: place.get(row["hook"], (len(place), 0)))  # what is beside the loop comes last
    for row in rows:
        if not row["plugins"] and not everything:
            continue
        indent = "  " * place.get(row["hook"], (0, 0))[1]
        kind = row["kind"] if row["live"] else f"{row['kind']} (reserved)"
        for i, who in enumerate(row["plugins"] or [None]):
            cells = (indent + row["hook"], kind) if i == 0 else ("", "")
            if who is None:
                cells += ("", "", "", "", "") if steps else ("", "", "")
            else:
                cells += (who["plugin"], who["band"], _order(who))
                cells += (f"{who['calls'] / steps:.2f}", f"{who['seconds'] * 1e3 / steps:.4f}") if steps else ()
            lines.append((*cells, row["doc"] if i == 0 else "") if doc else cells)
    table(columns, lines, {"hook": "cyan", "kind": "dim", "band": "dim", "what": "dim"})


def _order(who: dict[str, Any]) -> str:
    return "  ".join(f"{word} {', '.join(who[word])}" for word in ("before", "after") if who[word])


def _show_bill(bill: dict[str, dict[str, float]], steps: int, seconds: float) -> None:
    from lunar_cli.console import table

    click.echo()
    total = seconds * 1e3 / steps
    rows = [
        (plugin, f"{cost['calls'] / steps:.2f}", f"{cost['seconds'] * 1e3 / steps:.4f}",
         f"{100 * cost['seconds'] / seconds:.2f} %")
        for plugin, cost in bill.items()
    ]  # fmt: skip
    table(("plugin", "calls/step", "ms/step", "share"), rows, {"plugin": "cyan"})
    click.echo(f"{steps} steps of {total:.2f} ms each, evaluation included")

"""``lunar data``: which datasets there are, what is in them, and their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

_SET = click.option(
    "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="A field of the dataset, such as train=false."
)


@click.group()
def data() -> None:
    """List, look at, download and measure datasets."""


@data.command("list")
@click.argument("pattern", default="*")
def list_datasets(pattern: str) -> None:
    """List the datasets that are installed, or those whose name fits PATTERN. Nothing is imported."""
    from lunar_cli.console import table
    from lunar_cli.summary import summary
    from lunar_core.errors import UnknownNameError
    from lunar_core.plugins import registry
    from lunar_core.suggest import did_you_mean

    names = registry.names("dataset", pattern)
    if not names:
        guess = did_you_mean(pattern, registry.names("dataset"))
        raise UnknownNameError(f"no dataset fits {pattern!r}" + (f"; {guess}" if guess else ""))
    rows = []
    for name in names:
        info = registry.info("dataset", name)
        rows.append((name, summary(info.target), f"{info.dist} {info.version}".strip()))
    table(("dataset", "description", "package"), rows, {"dataset": "cyan", "package": "dim"})


@data.command("show")
@click.argument("name")
@_SET
@click.option(
    "--picture", type=click.Path(dir_okay=False, path_type=Path), help="Write a contact sheet of examples here."
)
@click.option("--count", default=25, show_default=True, help="How many examples the contact sheet shows.")
@click.option("--json", "as_json", is_flag=True, help="The card as a JSON object.")
def show(name: str, settings: tuple[str, ...], picture: Path | None, count: int, as_json: bool) -> None:
    """Show the card of the dataset NAME: size, classes, licence, source, files and checksums.

    Published sets tell their card without a download; the contact sheet needs the data.
    """
    import attrs

    dataset = _made(name, settings)
    card = dataset.card
    if as_json:
        click.echo(json.dumps(attrs.asdict(card), indent=2, ensure_ascii=False))
    else:
        click.secho(card.title, bold=True)
        classes = card.classes if card.classes is not None else dataset.classes
        shown = "none" if classes is None else f"{len(classes)}: " + ", ".join(classes[:12])
        facts = {
            "examples": f"{card.size:,}",
            "fields": ", ".join(dataset.fields),
            "classes": shown + (", ..." if classes is not None and len(classes) > 12 else ""),
            "licence": card.licence,
            "source": card.source,
            "credit": card.attribution,
        }
        for key, value in facts.items():
            if value:
                click.echo(f"  {key:<9} {value}")
        for file, size, sha256 in card.files:
            click.echo(f"  file      {file}  {size:,} bytes  sha256 {sha256}")
    if picture is not None:
        from lunar_data.sheet import contact_sheet

        contact_sheet(dataset, picture, count)
        click.echo(f"  picture   {picture}", err=as_json)


@data.command("download")
@click.argument("name")
@_SET
def download(name: str, settings: tuple[str, ...]) -> None:
    """Fetch the files of the published dataset NAME into the cache, and print where they are.

    What is there already is not fetched again; an interrupted download goes on where it stopped.
    """
    from lunar_core.errors import DataError
    from lunar_data.download import show_progress
    from lunar_data.published import Published

    dataset = _made(name, settings)
    if not isinstance(dataset, Published):
        raise DataError(f"{name} has no published files: there is nothing to download")
    for path in dataset.fetch(show_progress):
        click.echo(str(path))


@data.command("stats")
@click.argument("name")
@_SET
def stats(name: str, settings: tuple[str, ...]) -> None:
    """Measure the dataset NAME in one pass: mean, deviation and range of each channel, examples of each class."""
    import numpy as np

    from lunar_cli.console import table
    from lunar_data.transforms import statistics

    dataset = _made(name, settings)
    first = dataset[0][0]
    if np.ndim(first) and np.asarray(first).dtype.kind in "fiub":
        found = statistics(dataset)
        numbers = zip(found.mean, found.std, found.low, found.high)
        rows = [[str(k), *(f"{v:.6g}" for v in row)] for k, row in enumerate(numbers)]
        table(("channel", "mean", "std", "min", "max"), rows)
    classes = dataset.classes
    if classes is not None:
        labels = [int(np.asarray(dataset[k][-1])) for k in range(len(dataset))] if _scalar(dataset) else []
        counts = np.bincount(labels, minlength=len(classes)) if labels else []
        table(("class", "name", "examples"), [[str(k), classes[k], str(n)] for k, n in enumerate(counts)])


def _scalar(dataset: Any) -> bool:
    import numpy as np

    return np.ndim(dataset[0][-1]) == 0


def _made(name: str, settings: tuple[str, ...]) -> Any:
    """The dataset NAME with its fields from FIELD=VALUE words; a value is TOML where it is, else text."""
    import tomllib

    from lunar_core.config import from_config
    from lunar_core.errors import ConfigError

    fields: dict[str, Any] = {}
    for word in settings:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"--set takes FIELD=VALUE, got {word!r}")
        try:
            fields[key] = tomllib.loads(f"v = {value}")["v"]
        except tomllib.TOMLDecodeError:
            fields[key] = value
    return from_config({"@dataset": name, **fields})

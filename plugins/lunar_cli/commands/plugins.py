"""``lunar plugins``: what is installed, from where, in which state; and what to do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lunar_cli.commands.doctor import doctor


@click.group()
def plugins() -> None:
    """Show, examine, switch off and write plugins."""


plugins.add_command(doctor)


@plugins.command("list")
@click.option("--kind", metavar="KIND", help="Only this kind: optimizer, layer, dataset, ...")
@click.option("--json", "as_json", is_flag=True, help="A JSON array of objects.")
def list_plugins(kind: str | None, as_json: bool) -> None:
    """List every component: kind, name, target, distribution, version and status.

    Nothing is imported. The status is available, loaded, blocked (switched off by you), conflict (the name alone is
    ambiguous or belongs to another; use DIST/NAME) or broken.
    """
    from lunar_cli.console import table
    from lunar_core.plugins import registry
    from lunar_core.plugins.groups import kind_of

    records = registry.components(kind if kind is None else kind_of(kind) or kind)
    if as_json:
        click.echo(json.dumps([record.as_dict() for record in records], indent=2, ensure_ascii=False))
        return
    columns = ("kind", "name", "target", "dist", "version", "status")
    rows = [[record.as_dict()[column] for column in columns] for record in records]
    table(columns, rows, {"name": "cyan", "target": "dim", "dist": "dim", "version": "dim"})


@plugins.command("info")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="A JSON array of objects.")
def info(name: str, as_json: bool) -> None:
    """Describe the component NAME, its hyperparameters and hooks; imports it and no other.

    NAME is a registry name (adam), one with its kind (optimizers.adam) or with its distribution (lunar-lion/lion).
    """
    from lunar_cli.describe import describe, matching, show
    from lunar_core.plugins.groups import prefix

    matches = matching(name)
    found = [describe(match) for match in matches]
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    if len(matches) > 1:
        meant = " and ".join(f"{prefix(m.record.kind)}.{m.record.address}" for m in matches)
        click.echo(f"{name} means {meant}.\n")
    for k, description in enumerate(found):
        if k:
            click.echo()
        show(description)


@plugins.command("disable")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--project", is_flag=True, help="In the configuration of this project rather than in your own.")
def disable(names: tuple[str, ...], project: bool) -> None:
    """Switch components off for good: they are not imported any more.

    NAME is optimizers.adam, 'layers.*', dist:some-package, or a bare name that means one component. Written to the list
    `disable` of your own lunar.toml, or of the project's.
    """
    from lunar_core.plugins.editing import project_file, switch_off
    from lunar_core.plugins.settings import user_file

    file = project_file() if project else user_file()
    tokens = [_token(name) for name in names]
    new = switch_off(tokens, file)
    for token in tokens:
        click.echo(f"{token} is switched off in {file}" + ("" if token in new else " already"))


@plugins.command("enable")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def enable(names: tuple[str, ...]) -> None:
    """Switch components on again that `disable` switched off, in your configuration and in the project's."""
    from lunar_core.errors import ConfigError
    from lunar_core.plugins.editing import project_file, switch_on
    from lunar_core.plugins.settings import parse_rule, read_settings, user_file

    tokens = [_token(name) for name in names]
    found = {}
    for file in dict.fromkeys((user_file(), project_file())):
        for token in switch_on(tokens, file):
            found.setdefault(token, []).append(str(file))
    left = read_settings().rules
    for token in tokens:
        files = found.get(token)
        rule = parse_rule(token, "enable")
        still = [r for r in left if (r.kind, r.pattern) == (rule.kind, rule.pattern) or _covers(r, rule)]
        if still:
            raise ConfigError(f"{token} stays switched off by {still[0].text!r} in {still[0].source}")
        if not files:
            raise ConfigError(f"{token} is not switched off", hint="lunar plugins list shows the status of each")
        click.echo(f"{token} is switched on again in {' and '.join(files)}")


def _covers(rule: Any, asked: Any) -> bool:
    from fnmatch import fnmatchcase

    return bool(rule.kind) and rule.kind == asked.kind and fnmatchcase(asked.pattern, rule.pattern)


def _token(name: str) -> str:
    """What ``disable`` lists hold for NAME. A bare name has to mean one component."""
    from lunar_cli.describe import matching
    from lunar_core.errors import ConfigError, UnknownNameError
    from lunar_core.plugins.groups import kind_of, prefix

    if name.startswith("dist:") or kind_of(name.removeprefix("lunar.").partition(".")[0]) is not None:
        return name
    try:
        records = [match.record for match in matching(name)]
    except UnknownNameError as error:
        raise ConfigError(str(error)) from None
    tokens = [f"{prefix(r.kind)}.{name if '/' in name else r.name}" for r in records]
    if len(tokens) > 1:
        raise ConfigError(f"{name!r} means {len(tokens)} components", hint=f"write one of {', '.join(tokens)}")
    return tokens[0]


@plugins.command("new")
@click.argument("name")
@click.option(
    "--kind", metavar="KIND", help="What it adds: optimizer, layer, loss, callback, model, instrumentation, ..."
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Where; default ./NAME.")
@click.option("--author", default="", metavar="TEXT", help="For the metadata; default: what git knows.")
def new(name: str, kind: str | None, out: Path | None, author: str) -> None:
    """Write a complete package that adds a component: code, entry point, tests, README, CI.

    NAME is that of the distribution, such as lunar-lion. The package installs, passes its tests and takes part in a
    training run as it is written.
    """
    from lunar_cli.scaffold import KINDS, write
    from lunar_core.errors import UnknownNameError
    from lunar_core.suggest import did_you_mean

    if kind is None:
        raise click.UsageError(f"--kind is missing: one of {', '.join(KINDS)}")
    if kind not in KINDS:
        guess = did_you_mean(kind, KINDS)
        raise UnknownNameError(
            f"there is no template for {kind!r}" + (f"; {guess}" if guess else ""), hint=f"kinds: {', '.join(KINDS)}"
        )
    made = write(name, kind, out, author)
    click.echo(f"wrote {made.folder}: {made.kind} {made.entry!r}, class {made.cls}")
    click.echo(f"  cd {made.folder} && pip install -e . && pytest")
    click.echo(f"  {made.usage}")


@plugins.command("stubs")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("typings"), show_default=True,
              metavar="DIR", help="Folder for the stub package, which editors and type checkers are to look in.")  # fmt: skip
def stubs(out: Path) -> None:
    """Write type stubs of the installed components, so that an editor completes lc.optimizers.Lion.

    Imports every component. Pyright and Pylance look in `typings` by themselves; mypy with mypy_path = "typings".
    """
    from lunar_cli.stubs import write

    report = write(out)
    click.echo(f"wrote {report.folder}: {report.components} components of {report.distributions} distributions")
    for name, problem in report.left_out:
        click.echo(f"left out {name}: {problem}", err=True)

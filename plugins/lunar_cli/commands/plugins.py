"""``lunar plugins``: what is installed, from where, and in which state."""

from __future__ import annotations

import json
from typing import Any

import click


@click.group()
def plugins() -> None:
    """Show the plugins that are installed."""


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
    """Describe the component NAME and its hyperparameters; imports it.

    NAME is a registry name (adam), one with its kind (optimizers.adam) or with its distribution (lunar-lion/lion).
    """
    found = [_describe(record) for record in _matching(name)]
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for k, description in enumerate(found):
        if k:
            click.echo()
        _show(description)


def _matching(name: str) -> list[Any]:
    """The records that NAME means, of every kind. Raises UnknownNameError when there are none."""
    from lunar_core.errors import UnknownNameError
    from lunar_core.plugins import registry
    from lunar_core.plugins.groups import kind_of
    from lunar_core.suggest import did_you_mean

    group, dot, rest = name.partition(".")
    kind = kind_of(group) if dot else None
    if kind is not None:
        return [registry.info(kind, rest)]
    records = registry.components()
    found = [r for r in records if name in (r.name, r.qualified, r.class_name)]
    if not found:
        guess = did_you_mean(name, sorted({r.name for r in records}))
        raise UnknownNameError(
            f"no component is named {name!r}" + (f"; {guess}" if guess else ""), hint="lunar plugins list shows all"
        )
    return found


def _describe(record: Any) -> dict[str, Any]:
    from lunar_core.component import Component, field_doc, field_expects, fields
    from lunar_core.errors import PluginError
    from lunar_core.plugins import registry

    problem, doc, parameters = "", "", []
    try:
        target = registry.load(record)
    except PluginError as error:
        problem = str(error)
    else:
        doc = target.help or "" if isinstance(target, click.Command) else (target.__doc__ or "")
        if isinstance(target, type) and issubclass(target, Component):
            for field in fields(target):
                if field.init and field.metadata.get("lunar_config", True):
                    parameters.append(
                        {
                            "name": field.alias,
                            "default": _default(field),
                            "expects": field_expects(field),
                            "doc": field_doc(field),
                        }
                    )
    return record.as_dict() | {"doc": _dedent(doc), "parameters": parameters, "problem": problem}


def _default(field: Any) -> str:
    import attrs

    if field.default is attrs.NOTHING:
        return "required"
    if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
        return "made anew" if field.default.takes_self else repr(field.default.factory())
    return repr(field.default)


def _dedent(doc: str) -> str:
    import inspect

    return inspect.cleandoc(doc)


def _show(description: dict[str, Any]) -> None:
    from lunar_cli.console import table

    click.secho(f"{description['kind']} {description['name']}", bold=True)
    for key in ("target", "dist", "version", "status"):
        click.echo(f"  {key:<8} {description[key]}")
    if description["problem"]:
        click.echo()
        click.secho(description["problem"], fg="red")
    if description["doc"]:
        click.echo()
        click.echo(description["doc"])
    if description["parameters"]:
        click.echo()
        columns = ("name", "default", "expects", "doc")
        table(columns, [[p[c] for c in columns] for p in description["parameters"]], {"name": "cyan"})

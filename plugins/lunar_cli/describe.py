"""What ``lunar plugins info`` tells of a component."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import click


class Match(NamedTuple):
    """A component that a name means, and who else claims the name."""

    record: Any
    others: list[Any]  # of the same kind and name, in other distributions


def matching(name: str) -> list[Match]:
    """What NAME means, in every kind. Nothing is imported.

    A name is ``adam``, ``optimizers.adam``, ``dist/adam`` or a class name. Raises UnknownNameError when there is none,
    PluginConflictError for a bare name that several strangers claim.
    """
    from lunar_core.errors import UnknownNameError
    from lunar_core.plugins import registry
    from lunar_core.plugins.groups import kind_of
    from lunar_core.suggest import did_you_mean

    records = registry.components()
    group, dot, rest = name.partition(".")
    kind = kind_of(group) if dot else None
    if kind is not None:
        found = [registry.info(kind, rest)]
    else:
        kinds = dict.fromkeys(r.kind for r in records if r.name == name)
        found = [registry.info(kind, name) for kind in kinds]
        found = found or [r for r in records if name in (r.qualified, r.class_name)]
    if not found:
        guess = did_you_mean(name, sorted({r.name for r in records}))
        raise UnknownNameError(
            f"no component is named {name!r}" + (f"; {guess}" if guess else ""), hint="lunar plugins list shows all"
        )
    return [
        Match(r, [o for o in records if (o.kind, o.name) == (r.kind, r.name) and o is not r and o.status != "blocked"])
        for r in found
    ]


def describe(match: Match) -> dict[str, Any]:
    """The component as plain data. Imports it, and no other component."""
    from lunar_core.component import Component, field_doc, field_expects, fields
    from lunar_core.errors import PluginError
    from lunar_core.plugins import registry

    record, others = match
    problem, doc, parameters, hooks = "", "", [], []
    try:
        target = registry.load(record)
    except PluginError as error:
        problem = str(error)
    else:
        doc = target.help or "" if isinstance(target, click.Command) else (target.__doc__ or "")
        hooks = _hooks(target)
        if isinstance(target, type) and issubclass(target, Component):
            for field in fields(target):
                if field.init and field.metadata.get("lunar_config", True):
                    parameters.append(
                        {
                            "name": field.alias,
                            "type": _type_name(field.type),
                            "default": _default(field),
                            "expects": field_expects(field),
                            "doc": field_doc(field),
                        }
                    )
    doc = inspect.cleandoc(doc)
    return record.as_dict() | {
        "summary": " ".join(doc.partition("\n\n")[0].split()),
        "doc": doc,
        "parameters": parameters,
        "hooks": hooks,
        "conflicts": [o.qualified for o in others],
        "meaning": _meaning(record, others),
        "problem": problem,
    }


def show(description: dict[str, Any]) -> None:
    """Print a description."""
    from lunar_cli.console import table

    click.secho(f"{description['kind']} {description['name']}", bold=True)
    for key in ("target", "dist", "version", "status"):
        click.echo(f"  {key:<8} {description[key]}")
    if description["hooks"]:
        click.echo(f"  {'hooks':<8} {', '.join(description['hooks'])}")
    if description["meaning"]:
        click.echo(f"  {'conflict':<8} {description['meaning']}")
    if description["problem"]:
        click.echo()
        click.secho(description["problem"], fg="red")
    if description["doc"]:
        click.echo()
        click.echo(description["doc"])
    if description["parameters"]:
        click.echo()
        columns = ("name", "type", "default", "expects", "doc")
        table(columns, [[p[c] for c in columns] for p in description["parameters"]], {"name": "cyan", "type": "dim"})


def _meaning(record: Any, others: list[Any]) -> str:
    """Which of several components of one name the bare name means."""
    if not others:
        return ""
    owner = next((c for c in (record, *others) if c.address == c.name), None)
    claims = " and ".join(sorted(c.qualified for c in (record, *others)))
    if owner is None:
        return f"{claims} share the name {record.name!r}, which alone means neither"
    rest = " and ".join(sorted(c.qualified for c in (record, *others) if c is not owner))
    return f"{record.name!r} alone means that of {owner.dist}; {rest} goes by its full name"


def _hooks(target: Any) -> list[str]:
    from lunar_core.hookspecs import PREFIX, SPECS

    return [
        n
        for n in dir(target)
        if n.startswith(PREFIX) and n[len(PREFIX) :] in SPECS and inspect.isroutine(getattr(target, n, None))
    ]


def _type_name(annotation: Any) -> str:
    if annotation is None:
        return ""
    return annotation.__name__ if type(annotation) is type else str(annotation).replace("typing.", "")


def _default(field: Any) -> str:
    import attrs

    if field.default is attrs.NOTHING:
        return "required"
    if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
        return "made anew" if field.default.takes_self else repr(field.default.factory())
    return repr(field.default)

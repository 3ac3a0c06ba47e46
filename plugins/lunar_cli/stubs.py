"""``lunar plugins stubs``: what is installed, as types.

``lunar_core`` finds its components when it runs, so a type checker knows none of them. The stub package
``lunar_installed``, from which ``lunar_core`` takes the types of its namespaces, lists them: one class for each component,
with the signature that it has. A stub is complete in itself, whether or not the component's package is typed.
"""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = "lunar_installed"

_KNOWN = {
    "Any", "Callable", "Iterable", "Literal", "Mapping", "None", "Path", "Sequence", "bool", "bytes", "complex", "dict",
    "float", "frozenset", "int", "list", "object", "set", "str", "tuple", "type",
}  # fmt: skip

_HEAD = '''"""Written by `lunar plugins stubs`; not to be edited."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

'''

_NAMES = '''"""Written by `lunar plugins stubs`; not to be edited."""

from collections.abc import Iterator
from typing import Any

class Names:
    def __getitem__(self, name: str) -> Any: ...
    def __contains__(self, name: object) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
'''


class Report(NamedTuple):
    """What was written."""

    folder: Path
    components: int
    distributions: int
    left_out: list[tuple[str, str]]


def write(out: Path) -> Report:
    """Write the stub package into the folder ``out``. A component that cannot be imported is left out and named."""
    from lunar_core.errors import LunarError
    from lunar_core.plugins import NAMESPACES, Namespace, registry
    from lunar_core.plugins.groups import INCLUDES

    folder = out / PACKAGE
    folder.mkdir(parents=True, exist_ok=True)
    counted: set[tuple[str, str]] = set()
    dists: set[str] = set()
    left_out: list[tuple[str, str]] = []
    index = ['"""Written by `lunar plugins stubs`; not to be edited."""', ""]
    for attribute, kind in NAMESPACES.items():
        if kind == "command":
            continue
        namespace = Namespace(kind, registry)
        own = registry.classes(kind)
        stubs: dict[str, tuple[list[str], str]] = {}
        for name in sorted(own):
            try:
                target = getattr(namespace, name)
            except LunarError as error:
                left_out.append((f"{attribute}.{name}", error.message))
                continue
            if not name.isidentifier() or keyword.iskeyword(name):
                continue
            counted.add((kind, name))
            dists |= {c.dist for c in own[name]}
            stubs[name] = _stub(name, target)
        included = INCLUDES.get(kind)
        others = sorted(set(registry.classes(included)) - set(stubs)) if included else []
        (folder / f"_{attribute}.pyi").write_text(_module(stubs, included, others), "utf-8")
        index.append(f"from ._{attribute} import Namespace as _{attribute}_type")
    index.append("")
    index += [f"{attribute}: _{attribute}_type" for attribute, kind in NAMESPACES.items() if kind != "command"]
    (folder / "__init__.pyi").write_text("\n".join(index) + "\n", "utf-8")
    (folder / "_names.pyi").write_text(_NAMES, "utf-8")
    (folder / "py.typed").write_text("", "utf-8")
    return Report(folder, len(counted), len(dists), left_out)


def _module(stubs: dict[str, tuple[list[str], str]], included: str | None, others: list[str]) -> str:
    """The stub of one namespace, with the classes ``others`` of the kind ``included``."""
    from lunar_core.plugins.groups import prefix

    imports = sorted({line for _, line in stubs.values() if line})
    imports.append("from ._names import Names")
    if included is not None:
        imports.append(f"from . import _{prefix(included)} as _included")
    body = [line for lines, _ in stubs.values() for line in (*lines, "")]
    aliases = [f"_{name} = {name}" for name in stubs]  # in the class below, the name is the attribute
    members = [f"    {name}: type[_{name}]" for name in stubs]
    members += [f"    {name}: type[_included.{name}]" for name in others]
    text = [_HEAD + "\n".join(imports), "", *body, *aliases, "", "class Namespace(Names):", *(members or ["    ..."])]
    return "\n".join(text) + "\n"


def _stub(name: str, target: Any) -> tuple[list[str], str]:
    """The lines of a class, and the import of its base."""
    base, line = _base(target)
    doc = (
        inspect.cleandoc(target.__doc__ or "")
        .partition("\n\n")[0]
        .rstrip(":")
        .replace("\\", "\\\\")
        .replace('"""', "'''")
    )
    lines = [f"class {name}({base}):" if base else f"class {name}:"]
    if doc:
        lines.append(f'    """{doc}"""')
    lines += [f"    {field}" for field in _fields(target)]
    lines.append(f"    def __init__(self{''.join(', ' + p for p in _parameters(target))}) -> None: ...")
    lines.append("    def __getattr__(self, name: str) -> Any: ...")
    return lines, line


def _base(target: Any) -> tuple[str, str]:
    for base in getattr(target, "__mro__", ()):
        if base.__module__.startswith("lunar_core.") and base is not target and base.__name__.isidentifier():
            alias = f"_base_{base.__name__}"
            return alias, f"from {base.__module__} import {base.__name__} as {alias}"
    return "", ""


def _fields(target: Any) -> Iterator[str]:
    """The hyperparameters as attributes; those that the base has under the name already are its own."""
    from lunar_core.component import Component, fields

    if not (isinstance(target, type) and issubclass(target, Component)):
        return
    bases = [base for base in target.__mro__ if base.__module__.startswith("lunar_core.") and base is not target]
    for field in fields(target):
        name = field.name
        taken = any(name in vars(base) or name in getattr(base, "__annotations__", {}) for base in bases)
        if not taken and name.isidentifier() and not name.startswith("_"):
            yield f"{name}: {_type(field.type)} = ..."


def _parameters(target: Any) -> Iterator[str]:
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        yield "*args: Any"
        yield "**kwargs: Any"
        return
    starred = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    for p in parameters:
        annotation = _type(None if p.annotation is p.empty else p.annotation)
        if p.kind is p.VAR_POSITIONAL:
            yield f"*{p.name}: {annotation}"
        elif p.kind is p.VAR_KEYWORD:
            yield f"**{p.name}: {annotation}"
        else:
            if p.kind is p.KEYWORD_ONLY and not starred:
                starred = True
                yield "*"
            yield f"{p.name}: {annotation}" + ("" if p.default is p.empty else " = ...")


def _type(annotation: Any) -> str:
    """The annotation as text, or Any where it names what a stub does not know."""
    if annotation is None:
        return "Any"
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\b(typing|collections\.abc|pathlib)\.", "", text)
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", text)
    return text if set(re.findall(r"[A-Za-z_][\w.]*", bare)) <= _KNOWN else "Any"

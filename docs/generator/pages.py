"""The pages: one for each kind of component, with an entry for each component, and an index."""

from __future__ import annotations

import inspect
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import lunar_core as lc
from lunar_cli.describe import Match, describe
from lunar_core.plugins.groups import CONTRACTS, FIRST_PARTY, GROUPS, NAMESPACES

from .docstrings import cell, markdown, summary
from .plots import picture
from .svg import alike

ROOT = Path(__file__).parents[2]
FOLDER = "docs/catalogue"
COMMAND = "python -m docs.generator"
NOTE = f"<!-- Written by `{COMMAND}` from the sources; change those. -->"


def generate() -> dict[str, str]:
    """The text of every file of the catalogue by its path from the root of the repository."""
    files: dict[str, str] = {}
    rows = []
    for kind, group in sorted(GROUPS.items()):
        names = own_names(kind)
        if not names:
            continue
        page = group.removeprefix("lunar.")
        files[f"{FOLDER}/{page}.md"] = _page(kind, names, files)
        rows.append(f"| [{_title(kind)}]({page}.md) | {len(names)} | {cell(_first(kind))} |")
    text = [
        NOTE,
        "# The catalogue",
        "Every component that LunarLearn brings, by kind. What is installed on a machine, strangers' packages included, "
        "is listed by `lunar plugins list`, and `lunar plugins info NAME` describes one of them.",
        "\n".join(["| kind | components | |", "|---|---:|---|", *rows]),
    ]
    files[f"{FOLDER}/README.md"] = "\n\n".join(text) + "\n"
    return files


def own_names(kind: str) -> list[str]:
    """Registry names of the first party's components."""
    return [n for n in sorted(lc.registry.names(kind)) if lc.registry.info(kind, n).qualified == f"{FIRST_PARTY}/{n}"]


def stale(files: dict[str, str], root: Path = ROOT) -> list[str]:
    """Paths of what is missing, different, or there without being one of ``files``."""
    there = {p.relative_to(root).as_posix() for p in (root / FOLDER).rglob("*") if p.is_file()}
    changed = sorted(there - files.keys())
    for name, text in files.items():
        old = (root / name).read_text(encoding="utf-8") if name in there else None
        same = old is not None and (alike(old, text) if name.endswith(".svg") else old == text)
        if not same:
            changed.append(name)
    return changed


def write(files: dict[str, str], changed: list[str], root: Path = ROOT) -> None:
    """Bring the files that :func:`stale` named up to date."""
    for name in changed:
        path = root / name
        if name not in files:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[name], encoding="utf-8", newline="\n")


def _page(kind: str, names: list[str], files: dict[str, str]) -> str:
    found = {name: _about(kind, name) for name in names}
    intro = _intro(kind)
    parts = [NOTE, f"# {_title(kind)}", *([markdown(intro)] if intro else []), *_remark(kind)]
    index = ["| name | class | |", "|---|---|---|"]
    for name in names:
        shown = lc.registry.info(kind, name).class_name
        index.append(f"| [`{name}`](#{name}) | `{shown}` | {cell(summary(found[name]['doc']))} |")
    parts.append("\n".join(index))
    for name in names:
        parts += _entry(kind, name, found[name], files)
    return "\n\n".join(parts) + "\n"


def _about(kind: str, name: str) -> dict[str, Any]:
    """What ``lunar plugins info`` tells; of a kernel provider, which is an object, what its module tells."""
    record = lc.registry.info(kind, name)
    about = describe(Match(record, []))
    if record.kind == "kernel":
        about["doc"] = import_module(record.module).__doc__ or ""
    return about


def _entry(kind: str, name: str, about: dict[str, Any], files: dict[str, str]) -> list[str]:
    """The blocks of one component."""
    record = lc.registry.info(kind, name)
    target = lc.registry.get(kind, name)
    source = inspect.getsourcefile(import_module(record.module)) or ""
    path = os.path.relpath(source, ROOT / FOLDER).replace(os.sep, "/")
    namespace = next((space for space, k in NAMESPACES.items() if k == kind), None)
    use = f"`lc.{namespace}.{record.class_name}` · " if namespace and isinstance(target, type) else ""
    parts = [f"## {name}", f"{use}[`{record.value}`]({path})", markdown(about["doc"])]
    if about["parameters"]:
        rows = ["| hyperparameter | default | takes | |", "|---|---|---|---|"]
        order = list(
            inspect.signature(target).parameters
        )  # keywords of a base class stand behind what is the class's own
        for p in sorted(about["parameters"], key=lambda p: order.index(p["name"]) if p["name"] in order else 0):
            rows.append(f"| `{p['name']}` | {_code(p['default'])} | {cell(p['expects'])} | {cell(p['doc'])} |")
        parts.append("\n".join(rows))
    drawn = picture(kind, name, target)
    if drawn is not None:
        image = f"plots/{kind}-{name}.svg"
        files[f"{FOLDER}/{image}"] = drawn[0]
        parts.append(f"![{record.class_name}]({image})\n<br>{drawn[1]}")
    return parts


def _code(text: str) -> str:
    return "required" if text == "required" else f"`{text}`".replace("|", r"\|")


def _intro(kind: str) -> str:
    """What the module of the kind's contract says."""
    module = CONTRACTS.get(kind, f"lunar_core.contracts.{kind}:").partition(":")[0]
    module = "lunar_core.kernels" if kind == "kernel" else module
    try:
        return import_module(module).__doc__ or ""
    except ModuleNotFoundError:
        return ""


def _first(kind: str) -> str:
    """What a kind is, without its name in front, which ``Loss: a sum and a weight.`` has."""
    doc = _intro(kind)
    sentence = summary(doc) if doc else ""
    head, colon, rest = sentence.partition(": ")
    words = kind.replace("_", " ")
    return rest if colon and head.lower() in (words, f"what a {words} is") else sentence


def _title(kind: str) -> str:
    return GROUPS[kind].removeprefix("lunar.").replace("_", " ").capitalize()


def _remark(kind: str) -> list[str]:
    if kind == "optimizer":
        return [
            "The pictures show 200 steps on Rosenbrock's function, `(1 - x)^2 + 10 (y - x^2)^2`, from (-1.2, 1), with the "
            "best learning rate of six from 0.003 to 1 by the mean logarithm of the height on the way. A grey dot is "
            "the minimum, an orange one the end. They show what kind of steps each takes, not which is better."
        ]
    return []

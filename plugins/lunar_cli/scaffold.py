"""``lunar plugins new``: a complete package that adds one component."""

from __future__ import annotations

import importlib.util
import keyword
import re
import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from lunar_core.errors import ConfigError
from lunar_core.plugins.discovery import normalize
from lunar_core.plugins.groups import FIRST_PARTY, GROUPS, prefix


class Kind(NamedTuple):
    """What differs between templates."""

    kind: str  # the registry's
    what: str  # for the description
    usage: str  # a line that uses it


KINDS: dict[str, Kind] = {
    "activation": Kind("activation", "activation", 'lc.activations["template-address"]()'),
    "callback": Kind("callback", "callback", "lunar train digits-cnn --set 'callbacks=[\"template-address\"]'"),
    "command": Kind("command", "command of `lunar`", "lunar template_entry --help"),
    "dataset": Kind("dataset", "dataset", 'lc.datasets["template-address"]()'),
    "gradient_processor": Kind(
        "gradient_processor", "gradient processor", 'lc.gradient_processors["template-address"]()'
    ),
    "initializer": Kind("initializer", "initializer", 'lc.initializers["template-address"]()'),
    "instrumentation": Kind("plugin", "instrumentation plugin", "lunar train digits-cnn"),
    "kernel": Kind("kernel", "kernel provider", "lunar train digits-cnn"),
    "layer": Kind("layer", "layer", 'lc.layers["template-address"]()'),
    "loss": Kind("loss", "loss", "lunar train digits-cnn --set loss=template-address"),
    "metric": Kind("metric", "metric", "lunar train digits-cnn --set 'metrics=[\"template-address\"]'"),
    "model": Kind("model", "model architecture", "lunar train digits-cnn --set model=template-address"),
    "optimizer": Kind("optimizer", "optimizer", "lunar train digits-cnn --optimizer template-address"),
    "parametrization": Kind("parametrization", "parametrization", 'lc.parametrizations["template-address"]()'),
    "regularizer": Kind(
        "regularizer", "regularizer", "lunar train digits-cnn --set 'regularizers=[\"template-address\"]'"
    ),
    "scheduler": Kind("scheduler", "learning-rate schedule", "lunar train digits-cnn --set scheduler=template-address"),
    "tokenizer": Kind("tokenizer", "tokenizer", 'lc.tokenizers["template-address"]()'),
    "transform": Kind("transform", "transform of examples", 'lc.transforms["template-address"]()'),
}
"""What packages can be written for."""

_OBJECTS = {"command": "template_entry", "kernel": "provider", "instrumentation": "template_entry"}
"""The target of the entry point where it is no class."""


class Made(NamedTuple):
    """A package that was written."""

    folder: Path
    kind: str
    entry: str
    cls: str
    usage: str


def write(name: str, kind: str, folder: Path | None = None, author: str = "") -> Made:
    """Write the package of distribution ``name`` with a component of ``kind`` into ``folder``, by default ``./name``.

    The component is called after the distribution, without a leading ``lunar-``. Raises ConfigError for a name that
    cannot be one of a distribution or a package, or that is taken, and for a folder that is not empty.
    """
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        raise ConfigError(
            f"{name!r} is no name of a distribution", hint="letters, digits and hyphens, such as lunar-lion"
        )
    dist = normalize(name)
    package = dist.replace("-", "_")
    entry = package.removeprefix("lunar_")
    _check(package, entry)
    folder = Path(dist) if folder is None else folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already and is not empty", hint="--out DIR names another folder")
    template = KINDS[kind]
    cls = "".join(part[:1].upper() + part[1:] for part in entry.split("_"))
    words = {
        "template-object": _OBJECTS.get(kind, "TemplateClass"),
        "template-usage": template.usage,
        "template-description": f"{_article(template.what)} for LunarLearn",
        "template-authors": _authors(author),
        "template-version": version(FIRST_PARTY),
        "template-group": GROUPS[template.kind],
        "template-address": f"{dist}/{entry}" if template.kind not in ("command", "kernel", "plugin") else
        f"{prefix(template.kind)}.{entry}",
        "template-dist": dist,
        "template_package": package,
        "template_entry": entry,
        "TemplateClass": cls,
    }  # fmt: skip
    source = files("lunar_cli") / "templates"
    plan = {
        "pyproject.toml": "common/pyproject.toml.txt",
        "README.md": "common/README.md",
        ".gitignore": "common/gitignore",
        ".github/workflows/test.yml": "common/test.yml",
        f"{package}/{entry}.py": f"{kind}.py",
        f"tests/test_{entry}.py": f"test_{kind}.py",
    }
    texts = {target: _filled((source / origin).read_text("utf-8"), words) for target, origin in plan.items()}
    texts[f"{package}/__init__.py"] = f'"""{_article(template.what)} for LunarLearn."""\n'
    texts[f"{package}/py.typed"] = ""
    for target, text in texts.items():
        path = folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return Made(folder, kind, entry, cls, _filled(template.usage, words))


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def _check(package: str, entry: str) -> None:
    for word in (package, entry):
        if not word.isidentifier() or keyword.iskeyword(word):
            raise ConfigError(f"{word!r} cannot be a name in Python", hint="begin the name with a letter")
    if package in sys.stdlib_module_names:
        raise ConfigError(f"{package!r} is a module of Python itself", hint=f"lunar-{package} would do")
    try:
        taken = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        taken = None
    if taken is not None:
        where = taken.origin or "a namespace package"
        raise ConfigError(f"there is a package {package!r} already ({where})", hint="choose another name")


def _authors(author: str) -> str:
    """The ``authors`` of a pyproject.toml: what was given, or what git knows, or nobody."""
    import json

    name, email = author, ""
    if not author:
        name, email = (_git(key) for key in ("user.name", "user.email"))
    entry = {key: value for key, value in (("name", name), ("email", email)) if value}
    inner = ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items())
    return f"[{{ {inner} }}]" if inner else "[]"


def _git(key: str) -> str:
    try:
        done = subprocess.run(["git", "config", key], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _article(noun: str) -> str:
    return f"{'An' if noun[0] in 'aeiou' else 'A'} {noun}"

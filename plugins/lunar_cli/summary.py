"""What a component is, in one line, and what a plugin speaks of: read from the source without importing it."""

from __future__ import annotations

import ast
import importlib.util
import re
from importlib.machinery import SourceFileLoader
from pathlib import Path

_MOST_STEPS = 4  # of re-exports from module to module


def summary(target: str) -> str:
    """The first sentence of the docstring of ``module:Name``; empty when the source does not tell.

    Only files are read, so a listing stays quick and survives plugins that cannot be imported.
    """
    module, _, name = target.partition(":")
    try:
        doc = _docstring(module, name.partition(".")[0], _MOST_STEPS)
    except (OSError, SyntaxError, ValueError, RecursionError, ImportError):
        return ""
    paragraph = " ".join((doc or "").strip().partition("\n\n")[0].split())
    sentence = re.match(r".*?\.(?= |$)", paragraph)  # a point inside of 2.5 or lc.layers ends none
    return sentence[0] if sentence else paragraph


def mentions(target: str, word: str) -> bool:
    """Whether the package of ``module:Name`` has ``word`` in its source; True when there is none to look at."""
    try:
        spec = importlib.util.find_spec(target.partition(":")[0].partition(".")[0])
        if spec is None or not isinstance(spec.loader, SourceFileLoader) or spec.origin is None:
            return True
        files = [path for folder in spec.submodule_search_locations or () for path in Path(folder).rglob("*.py")]
        return any(word.encode() in path.read_bytes() for path in files or [Path(spec.origin)])
    except (OSError, ValueError, ImportError):
        return True


def _docstring(module: str, name: str, steps: int) -> str | None:
    path = _source(module)
    if path is None:
        return None
    tree = ast.parse(path.read_bytes())
    if not name:
        return ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return ast.get_docstring(node)
        if isinstance(node, ast.ImportFrom) and steps:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _docstring(_absolute(module, path, node), alias.name, steps - 1)
    return None


def _source(module: str) -> Path | None:
    """The file of a module. Only the top-level package is asked of the import system, which does not import that."""
    top, *inner = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if not inner:
        return Path(spec.origin) if spec.origin and isinstance(spec.loader, SourceFileLoader) else None
    for folder in spec.submodule_search_locations or ():
        path = Path(folder, *inner)
        for candidate in (path / "__init__.py", path.with_suffix(".py")):
            if candidate.is_file():
                return candidate
    return None


def _absolute(module: str, path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.split(".")
    up = node.level - (path.name == "__init__.py")
    package = package[: len(package) - up] if up else package
    return ".".join([*package, *([node.module] if node.module else [])])

"""``disable`` lists in configuration files, edited in place: nothing else in the file changes, comments included."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .settings import Rule, nearest_table, parse_rule, user_file

_HEADER = "# LunarLearn: what is switched off, and which of two namesakes is meant.\n"


def project_file(cwd: str | Path | None = None) -> Path:
    """The file that speaks of LunarLearn in the project around ``cwd``, or where a new one belongs."""
    file, _ = nearest_table(cwd)
    return file if file is not None else Path(cwd) / "lunar.toml" if cwd is not None else Path("lunar.toml")


def switch_off(tokens: Iterable[str], file: Path | None = None) -> list[str]:
    """Add ``optimizers.adam``, ``layers.*`` or ``dist:foo`` to the ``disable`` list of ``file``; gives those that are new.

    ``file`` is the user's own by default. Raises ConfigError for a token that names no plugin and for a file that
    cannot be edited safely.
    """
    file = user_file() if file is None else file
    before = switched_off(file)
    known = {_key(rule) for rule in before}
    new = [rule for rule in (parse_rule(token, "disable") for token in tokens) if _key(rule) not in known]
    if new:
        _write(file, [rule.text for rule in (*before, *new)])
    return [rule.text for rule in new]


def switch_on(tokens: Iterable[str], file: Path | None = None) -> list[str]:
    """Take tokens out of the ``disable`` list of ``file``; gives those that were there."""
    file = user_file() if file is None else file
    wanted = {_key(parse_rule(token, "enable")) for token in tokens}
    before = switched_off(file)
    gone = [rule.text for rule in before if _key(rule) in wanted]
    if gone:
        _write(file, [rule.text for rule in before if _key(rule) not in wanted])
    return gone


def switched_off(file: Path) -> list[Rule]:
    """The rules in the ``disable`` list of a file; none where there is no file."""
    if not file.exists():
        return []
    listed = _table(file, _read(file)).get("disable", [])
    if not isinstance(listed, list) or not all(isinstance(token, str) for token in listed):
        raise ConfigError(f"{file}: disable must be a list of strings, got {listed!r}")
    return [parse_rule(token, str(file)) for token in listed]


def _key(rule: Rule) -> tuple[str, str]:
    return rule.kind, rule.pattern


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None


def _table(file: Path, data: dict[str, Any]) -> dict[str, Any]:
    table = data.get("tool", {}).get("lunar", {}) if file.name == "pyproject.toml" else data
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: [tool.lunar] must be a table, got {table!r}")
    return table


def _write(file: Path, tokens: list[str]) -> None:
    """Replace the list, and check by reading the result that nothing else is read differently."""
    from ..serialize import atomic_file

    inner = ", ".join(_quoted(token) for token in tokens)
    line = f"disable = [{inner}]"
    text = file.read_text("utf-8") if file.exists() else _HEADER
    expected = tomllib.loads(text)
    if file.name == "pyproject.toml":
        expected.setdefault("tool", {}).setdefault("lunar", {})["disable"] = tokens
        edited = _in_section(text, line)
    else:
        expected["disable"] = tokens
        edited = _replaced(text, line, 0, _first_section(text))
    try:
        same = tomllib.loads(edited) == expected
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise ConfigError(f"{file}: its disable list cannot be edited safely", hint=f"write {line} there by hand")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as out:
            out.write(edited.encode())
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error}") from error


def _in_section(text: str, line: str) -> str:
    header = re.search(r"(?m)^\s*\[\s*tool\s*\.\s*lunar\s*\]\s*(#.*)?$", text)
    if header is None:
        return text.rstrip("\n") + f"\n\n[tool.lunar]\n{line}\n"
    end = header.end() + _first_section(text[header.end() :])
    return _replaced(text, line, header.end() + 1, end)


def _replaced(text: str, line: str, start: int, end: int) -> str:
    """``text`` with the list between ``start`` and ``end`` replaced by ``line``, or ``line`` added there."""
    found = re.compile(r"(?m)^[ \t]*disable[ \t]*=[ \t]*\[[^\]]*\]").search(text, start, end)
    if found:
        return text[: found.start()] + line + text[found.end() :]
    body = text[start:end]
    place = start + len(body.rstrip("\n")) + (1 if body.strip("\n") else 0)
    head, tail = text[:place], text[place:]
    if head and not head.endswith("\n"):
        head += "\n"
    return f"{head}{line}\n{tail}"


def _first_section(text: str) -> int:
    found = re.search(r"(?m)^\s*\[", text)
    # A list of several lines begins lines with quotes or a closing bracket, never with an opening one.
    return len(text) if found is None else found.start()


def _quoted(token: str) -> str:
    import json

    return json.dumps(token, ensure_ascii=False)

"""What the user switched off and which of two namesakes they chose, read before anything is imported.

- ``LUNAR_DISABLE_PLUGINS="optimizers.adam,dist:foo"``: names may hold ``*``, ``foo/adam`` means the adam of ``foo``.
- ``LUNAR_DISABLE_PLUGIN_AUTOLOAD=1``: nothing but first-party components and what is registered by hand.
- ``LUNAR_PLUGIN_STRICT=1``: what would be a warning about a plugin is an error.
- The user's own file, ``~/.config/lunar/lunar.toml`` (below ``$XDG_CONFIG_HOME`` or ``%APPDATA%`` where that is set;
  ``$LUNAR_CONFIG`` names another), which ``lunar plugins disable`` writes.
- ``[tool.lunar]`` of the nearest ``pyproject.toml`` that has one, or ``lunar.toml``, upwards of the working directory,
  whose choices go before the user's::

    [tool.lunar]                      # lunar.toml: without the prefix tool.lunar
    disable = ["optimizers.adam", "dist:foo"]
    [tool.lunar.override]
    "optimizers.adam" = "foo"         # the bare name adam means foo/adam
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..suggest import did_you_mean
from .discovery import ComponentPlugin, PluginWarning, normalize
from .groups import FIRST_PARTY, GROUPS, kind_of


class Rule(NamedTuple):
    """One thing switched off: a component pattern of one kind, or a distribution (``kind`` empty)."""

    text: str
    source: str
    kind: str
    pattern: str

    def hits(self, component: ComponentPlugin) -> bool:
        if not self.kind:
            return component.dist == self.pattern
        if component.kind != self.kind:
            return False
        from fnmatch import fnmatchcase

        return fnmatchcase(component.name, self.pattern) or fnmatchcase(component.qualified, self.pattern)


class Choice(NamedTuple):
    """An override: the bare name means the component ``name`` of ``dist``."""

    dist: str
    name: str
    source: str


class Settings(NamedTuple):
    """What the user decided about plugins."""

    rules: tuple[Rule, ...] = ()
    choices: Mapping[tuple[str, str], Choice] = MappingProxyType({})
    autoload: bool = True

    def reason_to_block(self, component: ComponentPlugin) -> str:
        """Who switched the component off, or an empty string."""
        for rule in self.rules:
            if rule.hits(component):
                return f"{rule.text!r} in {rule.source}"
        if not self.autoload and component.dist != FIRST_PARTY:
            return "LUNAR_DISABLE_PLUGIN_AUTOLOAD"
        return ""

    def with_rules(self, tokens: Iterable[str], source: str) -> Settings:
        return self._replace(rules=(*self.rules, *(parse_rule(token, source) for token in tokens)))


def strict() -> bool:
    """Whether warnings about plugins are errors."""
    return _flag("LUNAR_PLUGIN_STRICT")


def parse_rule(token: str, source: str) -> Rule:
    """A token such as ``optimizers.adam``, ``layers.*`` or ``dist:foo``. Raises ConfigError for anything else."""
    text = token.strip()
    if text.startswith("dist:") and text[5:].strip():
        return Rule(text, source, "", normalize(text[5:].strip()))
    group, _, pattern = text.removeprefix("lunar.").partition(".")
    kind = kind_of(group)
    if kind is None or not pattern:
        groups = [g.removeprefix("lunar.") for g in GROUPS.values()]
        guess = did_you_mean(group, groups, limit=1) if pattern else ""
        raise ConfigError(
            f"{source}: {text!r} names no plugin" + (f"; {guess}" if guess else ""),
            hint="write group.name, such as optimizers.adam, or dist:NAME",
        )
    dist, slash, name = pattern.partition("/")
    return Rule(text, source, kind, f"{normalize(dist)}/{name}" if slash else pattern)


def read_settings(cwd: str | Path | None = None) -> Settings:
    """The settings of the environment and of the nearest configuration file. Raises ConfigError."""
    tokens = [t for t in os.environ.get("LUNAR_DISABLE_PLUGINS", "").split(",") if t.strip()]
    settings = Settings(autoload=not _flag("LUNAR_DISABLE_PLUGIN_AUTOLOAD")).with_rules(tokens, "LUNAR_DISABLE_PLUGINS")
    for file, table in (user_table(), nearest_table(cwd)):
        if file is not None:
            settings = _with_table(settings, file, table)
    return settings


def _with_table(settings: Settings, file: Path, table: dict[str, Any]) -> Settings:
    for key in table:
        if key not in ("disable", "override"):
            guess = did_you_mean(key, ("disable", "override")) or "there are disable and override"
            message = f"{file}: [tool.lunar] has no entry {key!r}; {guess}"
            if strict():
                raise ConfigError(message)
            warnings.warn(message, PluginWarning, stacklevel=2)
    disable = table.get("disable", [])
    if not isinstance(disable, list) or not all(isinstance(token, str) for token in disable):
        raise ConfigError(f"{file}: disable must be a list of strings, got {disable!r}")
    choices = {**settings.choices, **dict(_choices(table.get("override", {}), str(file)))}
    return settings.with_rules(disable, str(file))._replace(choices=choices)


def user_file() -> Path:
    """Where the user's own settings are, whether the file is there or not."""
    named = os.environ.get("LUNAR_CONFIG")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or (os.environ.get("APPDATA") if os.name == "nt" else "")
    return (Path(base) if base else Path(os.path.expanduser("~"), ".config")) / "lunar" / "lunar.toml"


def user_table() -> tuple[Path | None, dict[str, Any]]:
    """The user's file and what it says; ``(None, {})`` where there is none."""
    file = user_file()
    text = _text(file)
    return (None, {}) if text is None else (file, _parse(file, text))


def nearest_table(cwd: str | Path | None = None) -> tuple[Path | None, dict[str, Any]]:
    """The nearest file upwards that speaks of LunarLearn, and its table; ``(None, {})`` where there is none."""
    try:
        start = Path(cwd) if cwd is not None else Path.cwd()
    except FileNotFoundError:  # the working directory has been deleted
        return None, {}
    for folder in (start, *start.parents):
        own = _text(folder / "lunar.toml")
        if own is not None:
            return folder / "lunar.toml", _parse(folder / "lunar.toml", own)
        text = _text(folder / "pyproject.toml")
        if text is not None and "tool.lunar" in text:
            table = _parse(folder / "pyproject.toml", text).get("tool", {}).get("lunar")
            if isinstance(table, dict):
                return folder / "pyproject.toml", table
    return None, {}


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except OSError:
        return None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: {error}") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def _choices(table: Any, source: str) -> Iterable[tuple[tuple[str, str], Choice]]:
    """Both spellings: ``"optimizers.adam" = "foo"`` and ``optimizers.adam = "foo"``, which TOML nests."""
    if not isinstance(table, dict):
        raise ConfigError(f"{source}: override must be a table, got {table!r}")
    for key, value in table.items():
        entries = value.items() if isinstance(value, dict) else [("", value)]
        for rest, chosen in entries:
            group, _, name = (f"{key}.{rest}" if rest else key).partition(".")
            kind = kind_of(group)
            if kind is None or not name or not isinstance(chosen, str) or not chosen.strip():
                raise ConfigError(
                    f"{source}: override {key!r} = {value!r} is not understood",
                    hint='write "optimizers.adam" = "distribution"',
                )
            dist, _, other = chosen.strip().partition("/")
            yield (kind, name), Choice(normalize(dist), other or name, source)


def _flag(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() not in ("", "0", "false", "no", "off")

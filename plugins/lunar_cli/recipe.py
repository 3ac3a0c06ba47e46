"""A recipe: all of a training run as one TOML file, found by name, changed from the command line, checked at once.

::

    epochs = 20
    batch_size = 32
    metrics = ["accuracy"]
    loss = "cross_entropy"

    [dataset]
    "@dataset" = "digits"

    [split]
    test = 0.25

    [model]
    "@model" = "digits_cnn"

    [optimizer]
    "@optimizer" = "adamw"
    lr = 1e-3

A component is a table that names it under ``@kind``, or just its name. A table ``[test]`` with a dataset of its own
takes the place of ``split.test``.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from lunar_core.component import Component, check_field, field, fields, in_range, non_negative, positive
from lunar_core.config import SAME, from_config, written_name
from lunar_core.contracts.dataset import Dataset
from lunar_core.errors import ConfigError, LunarError, PluginConflictError, UnknownNameError
from lunar_core.random import seed
from lunar_core.suggest import did_you_mean
from lunar_core.threads import set_num_threads

from .recipes import shipped

#: Entries that are one component, by its kind.
SLOTS = {
    "dataset": "dataset",
    "test": "dataset",
    "model": "model",
    "loss": "loss",
    "optimizer": "optimizer",
    "scheduler": "scheduler",
}

#: Entries that are a list of components, by their kind.
LISTS = {"metrics": "metric", "regularizers": "regularizer", "callbacks": "callback"}

REQUIRED = ("dataset", "model", "loss", "optimizer")


class Settings(Component):
    """The plain entries of a recipe."""

    name: str = field(default="", doc="what the run directory is called after")
    description: str = field(default="", doc="one line for listings")
    seed: int = field(default=0, validator=non_negative, doc="of initial weights, shuffling and dropout")
    device: str = field(default="cpu", doc="cpu, cuda or cuda:N")
    epochs: int = field(default=10, validator=positive, doc="passes over the training data")
    batch_size: int = field(default=32, validator=positive, doc="examples per step")
    clip_norm: float | None = field(default=None, validator=positive, doc="largest global norm of the gradients")
    micro_batches: int = field(default=1, validator=positive, doc="parts of a batch, for less memory")
    threads: int | None = field(default=None, validator=positive, doc="of NumPy's matrix products; None: as it is")


class Split(Component):
    """How the dataset is divided; ``seed`` is the division's own, so that runs of several seeds share one test set."""

    test: float = field(default=0.25, validator=in_range(0, 1, include_low=False, include_high=False), doc="held out")
    val: float = field(default=0.0, validator=in_range(0, 1, include_high=False), doc="of the rest, for each epoch")
    stratify: bool = field(default=True, doc="keep each class's share in every part")
    seed: int = field(default=0, validator=non_negative, doc="of the division")


class Parts(NamedTuple):
    """What a recipe describes, built."""

    settings: Settings
    train: Dataset
    val: Dataset | None
    test: Dataset
    model: Any
    loss: Any
    optimizer: Any
    scheduler: Any
    metrics: dict[str, Any]
    regularizers: list[Any]
    callbacks: list[Any]


# -- finding and reading -----------------------------------------------------------------------------------------------


def read(name: str) -> dict[str, Any]:
    """The recipe of this name, or in this file, or of the run in this directory.

    Raises UnknownNameError for a name that is none of these, ConfigError for a file that is no TOML.
    """
    known = shipped()
    path = known.get(name) or Path(name)
    if path.is_dir():
        path = path / "config.toml"
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        if name.endswith(".toml") or os.sep in name or Path(name).is_dir():
            raise ConfigError(f"there is no file {path}") from None
        guess = did_you_mean(name, known)
        raise UnknownNameError(
            f"there is no recipe {name!r}" + (f"; {guess}" if guess else ""),
            hint=f"recipes: {', '.join(sorted(known))}; or the path of a .toml file, or of a run",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    try:
        recipe = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    recipe.setdefault("name", path.stem if name not in known else name)
    return normalized(recipe)


def normalized(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe with every component as a table: ``"adam"`` becomes ``{"@optimizer": "adam"}``."""
    result = dict(recipe)
    for key, kind in SLOTS.items():
        if isinstance(result.get(key), str):
            result[key] = {f"@{kind}": result[key]}
    for key, kind in LISTS.items():
        if isinstance(result.get(key), list):
            result[key] = [{f"@{kind}": item} if isinstance(item, str) else item for item in result[key]]
    return result


def resolved(recipe: Any) -> Any:
    """The recipe with names that mean the same component wherever it is read: a stranger's with its distribution."""
    from lunar_core.plugins import registry

    if isinstance(recipe, list):
        return [resolved(item) for item in recipe]
    if not isinstance(recipe, dict):
        return recipe
    result = {key: resolved(value) for key, value in recipe.items()}
    for key, name in recipe.items():
        if key.startswith("@") and key != SAME:
            try:
                result[key] = written_name(registry.info(key[1:], name))
            except PluginConflictError:  # a hook plugin decides between namesakes
                record = registry.component_of(registry.get(key[1:], name))
                result[key] = name if record is None else written_name(record)
    return result


# -- changing ----------------------------------------------------------------------------------------------------------


def override(recipe: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """The recipe with ``key=value`` assignments applied, those that choose a component first.

    ``optimizer.lr=1e-3`` sets a field, ``callbacks.0.patience=3`` one in a list. ``optimizer=lion`` chooses another
    component, and what was set for the one before goes; ``optimizer.@optimizer=lion`` keeps it. ``scheduler=none``
    takes an entry out, so that its default holds. Values are TOML; what is not is text.

    Raises ConfigError for an assignment that cannot be carried out.
    """
    pairs = []
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        path = [part for part in re.split(r"[.\[\]]", key.strip()) if part]
        if not equals or not path:
            raise ConfigError(
                f"--set {assignment!r} is not understood", hint="write key=value, such as optimizer.lr=1e-3"
            )
        pairs.append((path, _parse(value.strip()), assignment))
    result = _copied(recipe)
    # Sorting is stable: later assignments win over earlier ones of the same depth.
    for path, value, assignment in sorted(pairs, key=lambda pair: len(pair[0])):
        _assign(result, path, value, assignment)
    return normalized(result)


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        pass
    if text in ("True", "False"):
        return text == "True"
    try:
        return float(text)  # .5 and 1. are no TOML
    except ValueError:
        return text


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _assign(recipe: dict[str, Any], path: list[str], value: Any, assignment: str) -> None:
    table: Any = recipe
    for depth, key in enumerate(path[:-1]):
        if isinstance(table, dict):
            table = table.setdefault(key, {})
        elif isinstance(table, list) and key.isdigit() and int(key) < len(table):
            table = table[int(key)]
        else:
            table = None
        if not isinstance(table, (dict, list)):
            raise ConfigError(f"--set {assignment!r}: {'.'.join(path[: depth + 1])} has no entries of its own")
    last = path[-1]
    if isinstance(table, list):
        if not last.isdigit() or int(last) >= len(table):
            raise ConfigError(f"--set {assignment!r}: {'.'.join(path[:-1])} is a list of {len(table)}, counted from 0")
        table[int(last)] = _chosen(table[int(last)], value)
    elif value in ("none", "None"):
        table.pop(last, None)
    else:
        table[last] = _chosen(table.get(last), value)


def _chosen(before: Any, value: Any) -> Any:
    """A name in the place of a component is another component of that kind."""
    mark = next((key for key in before if key.startswith("@")), None) if isinstance(before, dict) else None
    return {mark: value} if mark and isinstance(value, str) else value


# -- checking and building ---------------------------------------------------------------------------------------------


class _Errors:
    """Everything that is wrong, to be told at once."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def note(self, path: str, problem: str) -> None:
        self.found.append((path, problem))

    def attempt(self, path: str, make: Callable[..., Any], *args: Any) -> Any:
        """What ``make(*args)`` gives, or None when it fails; its errors are noted."""
        try:
            return make(*args)
        except ConfigError as error:
            self.found += getattr(error, "errors", None) or [(path, str(error))]
        except LunarError as error:
            self.note(path, str(error))
        return None

    def raise_all(self) -> None:
        if not self.found:
            return
        lines = [f"{path}: {problem}" if path else problem for path, problem in self.found]
        if len(lines) > 1:
            lines = [f"{len(lines)} errors in the recipe", *("  " + line.replace("\n", "\n  ") for line in lines)]
        error = ConfigError("\n".join(lines))
        error.__dict__["errors"] = self.found
        raise error


def build(recipe: dict[str, Any]) -> Parts:
    """Set the seed of the recipe and build all its components.

    Raises ConfigError with one line for each thing that is wrong, each with its path in the recipe.
    """
    errors = _Errors()
    _check_names(recipe, errors)
    settings = _table(Settings, {key: recipe[key] for key in _names(Settings) if key in recipe}, "", errors)
    if settings is not None:
        if settings.threads is not None:
            set_num_threads(settings.threads)
        seed(settings.seed)  # before the model: its initial weights are drawn from it
    split = recipe.get("split", {})
    if "test" in recipe and "test" in split:
        errors.note("split.test", "the recipe has a table [test], so nothing is held out for a test")
    split = _table(Split, split, "split", errors)

    def make(key: str, *args: Any) -> Any:
        table = recipe.get(key)
        if table is None:
            if key in REQUIRED:
                errors.note(key, f'missing; name the component: {key} = "..."')
            return None
        return errors.attempt(key, _component, table, key, SLOTS[key], *args)

    whole, test, model, loss = make("dataset"), make("test"), make("model"), make("loss")
    optimizer, scheduler = _optimizer(make, model)
    lists = {key: _components(recipe.get(key, []), key, kind, errors) for key, kind in LISTS.items()}
    errors.raise_all()

    train = whole
    if test is None:
        train, test = train.split(split.test, stratify=split.stratify, seed=split.seed)
    val = None
    if split.val:
        train, val = train.split(split.val, stratify=split.stratify, seed=split.seed)
    metrics = dict(zip(_figure_names(recipe.get("metrics", [])), lists["metrics"]))
    return Parts(
        settings,
        train,
        val,
        test,
        model,
        loss,
        optimizer,
        scheduler,
        metrics,
        lists["regularizers"],
        lists["callbacks"],
    )


def _optimizer(make: Callable[..., Any], model: Any) -> tuple[Any, Any]:
    """Optimizer and scheduler. Where what they need is itself in error, a stand-in lets their own errors be found."""
    import numpy as np

    from lunar_core.module import Parameter

    optimizer = make("optimizer", [Parameter(np.zeros(1, np.float32))] if model is None else model.parameters())
    return optimizer, make("scheduler") if optimizer is None else make("scheduler", optimizer)


def _component(table: Any, key: str, kind: str, *args: Any) -> Any:
    if not isinstance(table, dict):
        raise ConfigError(f"{key}: expected a name or a table, got {table!r}")
    marks = [mark for mark in table if mark.startswith("@")]
    if marks != [f"@{kind}"]:
        got = f"got {' and '.join(marks)}" if marks else "the table has none"
        raise ConfigError(f'{key}: "@{kind}" = "..." names the component; {got}')
    try:
        return from_config(table, *args)
    except ConfigError as error:  # its paths begin with the kind, ours with the entry
        found = getattr(error, "errors", None)
        if found and key != kind:
            error.__dict__["errors"] = [(key + path[len(kind) :], problem) for path, problem in found]
        raise


def _components(items: Any, key: str, kind: str, errors: _Errors) -> list[Any]:
    if not isinstance(items, list):
        errors.note(key, f"expected a list of names or tables, got {items!r}")
        return []
    paths = [f"{key}[{k}]" for k in range(len(items))]
    return [errors.attempt(path, _component, item, path, kind) for path, item in zip(paths, items)]


def _figure_names(metrics: list[dict[str, Any]]) -> list[str]:
    """The metrics' names without their distribution; repeated ones get a number."""
    names: list[str] = []
    for table in metrics:
        base = table["@metric"].rpartition("/")[2]
        names.append(base if base not in names else f"{base}_{sum(n.startswith(base) for n in names) + 1}")
    return names


def _table(cls: type[Component], table: Any, path: str, errors: _Errors) -> Any:
    """``cls(**table)``, all errors noted; None if there were any."""
    if not isinstance(table, dict):
        errors.note(path, f"expected a table, got {table!r}")
        return None
    before = len(errors.found)
    names = _names(cls)
    for key, value in table.items():
        where = f"{path}.{key}" if path else key
        if key not in names:
            errors.note(where, f"there is no such entry; {did_you_mean(key, names) or 'there are ' + ', '.join(names)}")
            continue
        try:
            check_field(cls, key, value)
        except LunarError as error:
            errors.note(where, getattr(error, "problem", "") or str(error))
    return cls(**table) if len(errors.found) == before else None


def _names(cls: type[Component]) -> list[str]:
    return [attribute.alias for attribute in fields(cls)]


def _check_names(recipe: dict[str, Any], errors: _Errors) -> None:
    known = [*_names(Settings), "split", *SLOTS, *LISTS]
    for key in recipe:
        if key not in known:
            guess = did_you_mean(key, known)
            errors.note(key, f"a recipe has no such entry; {guess or 'there are ' + ', '.join(known)}")

"""How parts of a model are trained, said on the model: ``model.train_with("head.*", lr=1e-3, regularizer="l2")``.

Optimizers that are made with the model or its ``parameters()`` find their hyperparameters here; the Trainer, and
:func:`regularizers_of` and :func:`schedulers_of` in a loop of one's own, find the rest. Options are settings of training:
they are part of neither the configuration nor the state of the model.

Which one counts, where several say the same thing of one parameter:

1. what is said nearer to it: an option on a layer before one on the model that holds the layer;
2. on the same module, what was said last;
3. what the optimizer was told by ``overrides`` or in a group of its own stands before all of these, and its general
   hyperparameters behind them.

Options are merged key by key. Frozen parameters have no use for any.
"""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import HyperparameterError, StateError
from .module import Module, Parameter, _join
from .selecting import fits
from .suggest import did_you_mean

if TYPE_CHECKING:
    from .contracts.regularizer import Regularizer
    from .contracts.scheduler import Bound

M = TypeVar("M", bound=Module)

#: Options that are no hyperparameters of the optimizer.
KINDS = ("optimizer", "schedule", "regularizer", "hooks", "norm")


class Rules:
    """What was said on one module, in order: (glob over names below it, options)."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []


def train_with(module: M, pattern: str = "", /, **options: Any) -> M:
    """See :meth:`lunar_core.module.Module.train_with`."""
    if not options:
        raise HyperparameterError(
            "train_with: nothing was given", hint='model.train_with("head.*", lr=1e-3, regularizer="l2")'
        )
    modules = _modules(module, pattern)
    names = [name for name, _ in module._named_tensors(Parameter)]
    if pattern and not modules and not any(fits(name, pattern) for name in names) and module.built:
        raise _unmatched(pattern, [*names, *(path for path, _ in module.named_modules() if path)])
    at_once = {key: options.pop(key) for key in ("hooks", "norm") if key in options}
    if at_once and not modules:
        raise StateError(
            f"train_with: no module matches {pattern!r}, which {' and '.join(at_once)} would be put on",
            hint=f"modules are {', '.join([path for path, _ in module.named_modules() if path][:6])}",
        )
    norms = [_made("layer", at_once["norm"]) for _ in modules] if "norm" in at_once else []
    hooks = at_once.get("hooks", ())
    for hook in hooks if isinstance(hooks, (list, tuple)) else [hooks]:
        if not callable(hook):
            raise HyperparameterError(f"train_with: hooks are functions of (module, args, output), got {hook!r}")
        for _, part in modules:
            part.register_forward_hook(hook)
    for (_, part), norm in zip(modules, norms):
        _normalize_output(part, norm)
    if options:
        if module._rules is None:
            module._rules = Rules()
        module._rules.said.append((pattern, options))
    return module


def _normalize_output(part: Module, norm: Module) -> None:
    if "output_norm" in vars(part):
        raise StateError(f"train_with: {type(part).__name__} has a norm already: {part.output_norm!r}")  # type: ignore[attr-defined]
    norm.training = part.training
    part.output_norm = norm  # type: ignore[attr-defined]
    part._changed = True
    part.register_forward_hook(_apply_output_norm)


def _apply_output_norm(module: Any, args: Any, output: Any) -> Any:
    return module.output_norm(output)  # of the module at hand: a copy of it has a norm of its own


def _modules(module: Module, pattern: str) -> list[tuple[str, Module]]:
    if not pattern:
        return [("", module)]
    return [(path, part) for path, part in module.named_modules() if path and fnmatch.fnmatchcase(path, pattern)]


def has_options(model: Any) -> bool:
    """Whether anything was said by ``train_with`` on the model or a part of it."""
    return isinstance(model, Module) and any(part._rules is not None for part in model.modules())


def parameter_options(model: Module) -> dict[str, dict[str, Any]]:
    """Name of a parameter -> its options merged, for those that have any. StateError for a glob that matches nothing."""
    found: dict[str, dict[str, Any]] = {}
    if not has_options(model):
        return found
    names = [name for name, _ in model.named_parameters()]
    for path, part in model.named_modules():  # parents first, so that what is nearer comes later and counts
        if part._rules is None:
            continue
        below = {
            name: name[len(path) + 1 :] if path else name for name in names if not path or name.startswith(f"{path}.")
        }
        for pattern, options in part._rules.said:
            hits = [name for name, own in below.items() if not pattern or fits(own, pattern)]
            if not hits and pattern and not (options.keys() == {"regularizer"} and _modules(part, pattern)):
                raise _unmatched(pattern, below.values())
            for name in hits:
                found.setdefault(name, {}).update(options)
    return found


def hyperparameters(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options that are hyperparameters of the optimizer."""
    return {key: value for key, value in options.items() if key not in KINDS}


def regularizers_of(model: Module) -> list[Regularizer]:
    """The regularizers that were given by ``train_with``, each confined to its part of the model.

    In a loop of one's own: ``loss + sum(r(model) for r in regularizers_of(model))``. Raises HyperparameterError for one
    that chooses neither parameters (``patterns``) nor modules (``modules``).
    """
    if not has_options(model):
        return []
    chosen: dict[int, tuple[Any, list[str]]] = {}
    for name, options in parameter_options(model).items():
        if options.get("regularizer") is not None:
            chosen.setdefault(id(options["regularizer"]), (options["regularizer"], []))[1].append(name)
    made = []
    for given, names in chosen.values():
        regularizer = _made("regularizer", given)
        if "patterns" in regularizer.config_names():
            made.append(_confined(regularizer, "patterns", names))
        elif "modules" not in regularizer.config_names():
            raise HyperparameterError(
                f"train_with: {type(regularizer).__name__} looks at the whole model and cannot be confined to a part",
                hint="give it to the Trainer: regularizers=[...]",
            )
    for path, part in model.named_modules():
        for pattern, options in part._rules.said if part._rules is not None else ():
            regularizer = (
                _made("regularizer", options["regularizer"]) if options.get("regularizer") is not None else None
            )
            if regularizer is not None and "modules" in regularizer.config_names():
                paths = [_join(path, own) for own, _ in _modules(part, pattern)]
                if not paths:
                    raise _unmatched(pattern, [p for p, _ in part.named_modules() if p])
                made.append(_confined(regularizer, "modules", paths))
    return made


def _confined(regularizer: Any, field: str, names: list[str]) -> Any:
    own = copy.copy(regularizer)
    setattr(own, field, tuple(names))
    own.__attrs_post_init__()
    return own


def schedulers_of(optimizer: Any) -> list[Bound]:
    """The schedules that were given by ``train_with``, each bound to the learning rates of its parameter groups.

    Move them as any other: ``for s in schedulers_of(optimizer): s.step()`` after each step.
    """
    bind = getattr(optimizer, "bind", None)
    if callable(bind):
        bind()
    bound = []
    made: dict[int, Any] = {}
    for group in getattr(optimizer, "groups", ()):
        given = getattr(group, "schedule", None)
        if given is not None:
            scheduler = made.setdefault(id(given), _made("scheduler", given))
            bound.append(scheduler.bind(group))
    return bound


def _made(kind: str, given: Any) -> Any:
    if isinstance(given, str):
        from .plugins import registry

        return registry.create(kind, given)
    if isinstance(given, Mapping):
        from .config import from_config

        return from_config(given)
    if isinstance(given, type):
        return given()
    return copy.deepcopy(given) if kind == "layer" else given


def _unmatched(pattern: str, names: Iterable[str]) -> StateError:
    names = list(names)
    guess = did_you_mean(pattern, names)
    return StateError(
        f"train_with: nothing matches {pattern!r}" + (f"; {guess}" if guess else ""),
        hint=f"names are like {', '.join(names[:4])}" if names else "there are no parameters",
    )

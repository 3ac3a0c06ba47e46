"""Checkpoints: everything that a run needs to go on, written as one transaction, with or without a Trainer.

::

    saver = Checkpointer("runs/a/checkpoints", every="500step", keep=2, best="val_loss")
    parts = {"model": model, "optimizer": optimizer, "scheduler": schedule, "scaler": scaler, "clock": clock}
    saver.restore(parts)                        # the newest one that is whole; nothing where there is none
    while clock.epoch < 10:
        for batch in batches(clock.epoch, start=clock.batch):
            ...
            if saver.due(clock):
                saver.save(parts, clock=clock)

:mod:`lunar_training.transaction` says what a checkpoint looks like on the disk.
"""

from __future__ import annotations

import math
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lunar_core.component import hyperparameter_error
from lunar_core.errors import LunarError, SerializationError, StateError
from lunar_core.hooks import restore_random, save_random
from lunar_core.serialize import load
from lunar_core.statetree import pack, unpack

from . import transaction
from .clock import Clock, Trigger, parse_period
from .history import maximized
from .provenance import check, provenance
from .states import copies, put_state, refuse_averages, state_of

MODEL, STATE, AVERAGED, TREE = "model.safetensors", "state.safetensors", "averaged.safetensors", "state.json"

_NUMBER = re.compile(r"([0-9]{6,})(-.*)?")


class CheckpointWarning(UserWarning):
    """A checkpoint that cannot be used was passed over."""


class Checkpoint:
    """A checkpoint that was read: every file has been compared with its digest.

    - ``path``: its directory.
    - ``state``: the states of its parts by name, as their ``state_dict()`` gave them, arrays on the host.
    - ``figures``: the figures that it was saved with.
    - ``manifest``: the rest, with ``clock``, ``components`` and ``created`` (seconds since 1970).
    """

    def __init__(self, path: Path, manifest: dict[str, Any], state: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self.state = state
        self.figures: dict[str, float] = manifest.get("figures") or {}

    def restore(self, parts: Mapping[str, Any], *, random: bool = True) -> None:
        """Put the states into ``parts``, in their order; each is an object with ``load_state_dict``, or a list or dict of
        such. Plain data has nowhere to go and is left in ``state``. With ``random``, all random streams go where they
        were when the checkpoint was taken.

        Raises StateError for a part that the checkpoint does not have or that does not fit, and for a component whose
        package is not installed.
        """
        missing = [name for name in parts if name not in self.state]
        if missing:
            raise StateError(
                f"{self.path} holds no state of {', '.join(missing)}; it has {', '.join(sorted(self.state))}"
            )
        check(self.manifest.get("components", []), parts, str(self.path))
        for name, value in parts.items():
            put_state(value, self.state[name], f"{self.path}: {name}")
        if random:
            self.restore_random()

    def restore_random(self) -> None:
        """Put the framework's streams, ``random`` and NumPy's global generator where they were."""
        try:
            restore_random(self.state["random"])
        except (LunarError, KeyError, TypeError, ValueError, IndexError) as exc:
            raise StateError(f"{self.path}: the random state cannot be restored: {exc}") from exc

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.path)!r})"


class Checkpointer:
    """Writes checkpoints into a directory, keeps some of them, and reads them back.

    - ``every``: when :meth:`due` says yes: a period of the clock, such as ``"1ep"``, ``"500step"`` or ``"10min"``.
    - ``spacing``: a time, such as ``"10s"``; :meth:`due` says no while the last checkpoint is younger.
    - ``keep``: how many of the newest stay; ``None``: all.
    - ``best``: a figure; the ``keep_best`` checkpoints with its best values stay as well. ``mode`` is "min", "max" or
      "auto" (min for losses and errors).
    - ``background``: write in a thread of its own: :meth:`save` copies the arrays and returns. The next save waits for it,
      and raises what went wrong with it.
    - ``choose``: a function from the list of committed paths, oldest first, to those to remove, in the place of ``keep``
      and ``best``; ``None`` as an answer leaves it to them.

    A checkpoint is removed only after a newer one has been committed, and the newest one is never removed. Two processes
    may share a directory: transactions take turns.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        every: Any = "1ep",
        spacing: Any = None,
        keep: int | None = 2,
        best: str | None = None,
        mode: str = "auto",
        keep_best: int = 1,
        background: bool = False,
        choose: Callable[[list[Path]], Sequence[Any] | None] | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.trigger = Trigger(every, "Checkpointer: every")
        self.spacing = None if spacing is None else parse_period(spacing, "Checkpointer: spacing", "second")
        if self.spacing is not None and self.spacing.unit != "second":
            raise hyperparameter_error("Checkpointer", "spacing", spacing, "a time, such as '10s'")
        for name, value, least in (("keep", keep, 1), ("keep_best", keep_best, 0)):
            if value is None and name == "keep":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise hyperparameter_error("Checkpointer", name, value, f"an int >= {least}")
        if mode not in ("auto", "min", "max"):
            raise hyperparameter_error("Checkpointer", "mode", mode, "'auto', 'min' or 'max'")
        self.keep = keep
        self.best = best
        self.mode = mode
        self.keep_best = keep_best
        self.background = background
        self.choose = choose
        self.saved: Path | None = None  #: the last one committed by this object
        self.digest = ""  #: of its manifest
        self._figures: dict[str, Any] = {}  # of the checkpoints in the directory, as far as they were looked at
        self._bad: set[str] = set()
        self._taken = time.monotonic()  # when the last one was taken
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    # -- when --------------------------------------------------------------------------------------------------------

    def begin(self, clock: Clock) -> None:
        """Tell :meth:`due` where the run begins or goes on."""
        self.trigger.reset(clock)
        self._taken = time.monotonic()

    def due(self, clock: Clock) -> bool:
        """Whether another period is over since the last call, and the last checkpoint old enough."""
        if not self.trigger.due(clock):
            return False
        return self.spacing is None or time.monotonic() - self._taken >= self.spacing.count

    # -- writing -----------------------------------------------------------------------------------------------------

    def save(
        self,
        parts: Mapping[str, Any],
        *,
        clock: Clock | None = None,
        figures: Mapping[str, Any] | None = None,
        averaged: Mapping[str, Any] | None = None,
    ) -> Path:
        """Commit a checkpoint; its path. With ``background`` it is still on its way (see :meth:`wait`), and the result is
        the directory in which it will lie.

        - ``parts``: name to an object with ``state_dict()``, a list or dict of such, or plain data. The arrays of the part
          ``"model"`` get a file of their own, ``model.safetensors``, under the names of the model's own state dict. All
          random streams are saved besides.
        - ``clock``: names the checkpoint, and tells the manifest where the run was.
        - ``figures``: numbers, among which ``best`` is looked for.
        - ``averaged``: weights to evaluate and ship, of optimizers that train others; written as
          ``averaged.safetensors``.

        Raises SerializationError if it cannot be written; the ones before it are as they were.
        """
        self.wait()
        self._taken = time.monotonic()
        for name in parts:
            if not isinstance(name, str) or name == "random" or name.startswith("@"):
                raise SerializationError(f"a part of a checkpoint cannot be named {name!r}")
            refuse_averages(parts[name])
        try:
            states = {name: state_of(value) for name, value in parts.items()} | {"random": save_random()}
        except RecursionError:
            raise SerializationError("a part of the checkpoint contains itself") from None
        tree: dict[str, Any] = {}
        model: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for name, state in states.items():
            tree[name], arrays = pack(state, "" if name == "model" else name)
            (model if name == "model" else rest).update(arrays)
        files = {MODEL: model, STATE: rest} | ({} if averaged is None else {AVERAGED: dict(averaged)})
        about = {
            "clock": None if clock is None else clock.state_dict(),
            "components": provenance(parts),
            "created": time.time(),
            "figures": _numbers(figures or {}),
        }
        label = "" if clock is None else f"-step{clock.step}"
        if not self.background:
            return self._commit(tree, files, about, label)
        files = copies(files)
        self._thread = threading.Thread(target=self._in_background, args=(tree, files, about, label))
        self._thread.start()
        return self.directory

    def settle(self) -> None:
        """Wait for a checkpoint that is being written in the background; what went wrong is for the next :meth:`wait`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def wait(self) -> None:
        """Wait for a checkpoint that is being written in the background; raises what went wrong with it."""
        self.settle()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _in_background(self, *args: Any) -> None:
        try:
            self._commit(*args)
        except BaseException as error:
            self._failure = error

    def _commit(self, tree: Any, files: dict[str, Any], about: dict[str, Any], label: str) -> Path:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SerializationError(f"cannot make the directory {self.directory}: {error.strerror}") from error
        with transaction.locked(self.directory):
            transaction.sweep(self.directory)
            number = max([_number(name) for name in transaction.committed(self.directory)], default=0) + 1
            name = f"{number:06d}{label}"
            with transaction.transaction(self.directory, name, about) as stage:
                stage.json(TREE, tree)
                for file, arrays in files.items():
                    stage.arrays(file, arrays)
            self._figures[name] = about["figures"]
            self.saved, self.digest = self.directory / name, stage.digest
            self._prune(name)
        return self.directory / name

    def _prune(self, newest: str) -> None:
        names = self.names()
        doomed = self.choose([self.directory / name for name in names]) if self.choose is not None else None
        if doomed is not None:
            chosen = {Path(item).name for item in doomed}
            goes = [name for name in names if name in chosen]
        elif self.keep is None:
            goes = []
        else:
            good = [name for name in names if self._figures_of(name) is not None]
            stay = {*good[-self.keep :], *self._best_of(good)[: self.keep_best]}
            goes = [name for name in names if name not in stay]
        for name in goes:
            if name != newest:
                transaction.remove(self.directory / name)
                self._figures.pop(name, None)
                self._bad.discard(name)

    def _figures_of(self, name: str) -> dict[str, Any] | None:
        """The figures that a checkpoint was saved with; ``None`` for one that is corrupt."""
        if name in self._bad:
            return None
        if name not in self._figures:
            try:
                manifest = transaction.read_manifest(self.directory / name)
            except SerializationError:
                return None
            self._figures[name] = manifest.get("figures") or {}
        return self._figures[name]

    def _best_of(self, names: list[str]) -> list[str]:
        """Those with a value of the figure ``best``, the best one first, the earliest of equals."""
        if self.best is None:
            return []
        sign = -1.0 if maximized(self.best, self.mode) else 1.0
        scored = []
        for name in names:
            value = (self._figures_of(name) or {}).get(self.best)
            if isinstance(value, (int, float)) and math.isfinite(value):
                scored.append((sign * value, _number(name), name))
        return [name for _, _, name in sorted(scored)]

    # -- reading -----------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """The committed checkpoints, oldest first. Whether they are whole shows when they are read."""
        return sorted(transaction.committed(self.directory), key=lambda name: (_number(name), name))

    def load(self, which: str = "newest") -> Checkpoint | None:
        """The newest checkpoint that is whole (or the ``"best"``), every file verified; ``None`` where there is none at all.

        One that is corrupt is passed over with a :class:`CheckpointWarning`. Raises SerializationError if there are
        checkpoints, but none that can be read.
        """
        self.wait()
        names = self.names()
        order = names[::-1] if which == "newest" else self._best_of(names)
        problems = []
        for name in order:
            try:
                found = read(self.directory / name)
            except SerializationError as error:
                self._bad.add(name)
                problems.append(error.message)
                warnings.warn(f"passing over the checkpoint {name}: {error.message}", CheckpointWarning, stacklevel=2)
                continue
            return found
        if problems:
            raise SerializationError(
                f"none of the {len(problems)} checkpoints in {self.directory} can be read:\n  "
                + "\n  ".join(problems[:5])
            )
        return None

    def restore(self, parts: Mapping[str, Any], *, random: bool = True) -> Checkpoint | None:
        """Load the newest checkpoint that is whole and put its states into ``parts``; ``None`` where there is none.

        See :meth:`Checkpoint.restore`. Afterwards :meth:`due` counts from the clock among the parts.
        """
        found = self.load()
        if found is not None:
            found.restore(parts, random=random)
        for part in parts.values():
            if isinstance(part, Clock):
                self.begin(part)
        return found

    def __repr__(self) -> str:
        return f"Checkpointer({str(self.directory)!r}, every={str(self.trigger.period)!r}, keep={self.keep})"


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint in the directory ``path``, every file verified. Raises SerializationError if it is not whole."""
    path = Path(path)
    manifest = transaction.verify(path)
    for name in (MODEL, STATE, TREE):
        if name not in manifest["files"]:
            raise SerializationError(f"{path} is no checkpoint of a run: it has no {name}")
    model, rest = load(path / MODEL), load(path / STATE)
    tree = transaction.read_json(path / TREE)
    if not isinstance(tree, dict):
        raise SerializationError(f"{path / TREE} is malformed: it holds {type(tree).__name__}")
    state = {
        name: unpack(part, model if name == "model" else rest, f"{path / TREE}: {name}") for name, part in tree.items()
    }
    return Checkpoint(path, manifest, state)


def _number(name: str) -> int:
    match = _NUMBER.fullmatch(name)
    return int(match[1]) if match else 0


def _numbers(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers among figures, as JSON has them."""
    found = {}
    for name, value in figures.items():
        if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
            number = value.item() if isinstance(value, np.number) else value
            found[str(name)] = number if math.isfinite(number) else str(number)
    return found

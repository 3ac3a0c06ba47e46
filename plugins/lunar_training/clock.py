"""One clock for a run, and the periods of time that schedules, triggers, records and checkpoints are given in.

``"2ep"``, ``"500step"``, ``"1e6sample"``, ``"30min"``: a number and a unit. :func:`parse_period` is the one place that
reads them; a bare number counts in the unit that the place expects, by default optimizer steps.
"""

from __future__ import annotations

import math
import re
import time
from typing import Any, NamedTuple

from lunar_core.errors import HyperparameterError, StateError
from lunar_core.suggest import did_you_mean

#: What each spelling of a unit means: the clock's unit and how many of them it is.
_SPELLINGS: dict[str, tuple[str, float]] = {
    **dict.fromkeys(("ep", "eps", "epoch", "epochs"), ("epoch", 1)),
    **dict.fromkeys(("step", "steps"), ("step", 1)),
    **dict.fromkeys(("sample", "samples"), ("sample", 1)),
    **dict.fromkeys(("token", "tokens"), ("token", 1)),
    **dict.fromkeys(("s", "sec", "second", "seconds"), ("second", 1)),
    **dict.fromkeys(("min", "minute", "minutes"), ("second", 60)),
    **dict.fromkeys(("h", "hour", "hours"), ("second", 3600)),
    **dict.fromkeys(("d", "day", "days"), ("second", 86400)),
}

#: The units of the clock.
UNITS = ("step", "epoch", "sample", "token", "second")

_FORM = re.compile(r"([0-9][0-9_]*(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?|\.[0-9]+(?:e[+-]?[0-9]+)?)\s*([a-z]*)", re.ASCII)


class Period(NamedTuple):
    """So many units of the clock; ``unit`` is one of ``UNITS``."""

    count: float
    unit: str

    def __str__(self) -> str:
        short = {"epoch": "ep", "second": "s"}.get(self.unit, self.unit)
        return f"{int(self.count) if self.count == int(self.count) else self.count}{short}"


def unit_of(name: str) -> str:
    """The clock's unit that ``name`` ("ep", "epoch", "steps", ...) means.

    Raises HyperparameterError for one that the clock does not have, or that is a multiple ("min").
    """
    unit, factor = _SPELLINGS.get(name, ("", 0)) if isinstance(name, str) else ("", 0)
    if factor != 1:
        raise HyperparameterError(f"the clock of a run has no unit {name!r}", hint=f"units: {', '.join(UNITS)}")
    return unit


def parse_period(value: Any, what: str = "a period", unit: str = "step") -> Period:
    """``value`` as a :class:`Period`: a text such as ``"2ep"``, a Period, or a number > 0, which counts in ``unit``.

    Units: ``ep``, ``step``, ``sample``, ``token``, ``s``, ``min``, ``h``, ``d`` and their full names.

    Raises HyperparameterError for anything else; ``what`` names the place in the message.
    """
    if isinstance(value, Period):
        found: Period | None = value
    elif isinstance(value, str):
        match = _FORM.fullmatch(value.strip().lower())
        found = None
        if match is not None:
            spelling = match[2] or unit
            if spelling not in _SPELLINGS:
                guess = did_you_mean(spelling, _SPELLINGS)
                raise HyperparameterError(
                    f"{what}: no unit {spelling!r} in {value!r}" + (f"; {guess}" if guess else ""),
                    hint="units: ep, step, sample, token, s, min, h, d",
                )
            base, factor = _SPELLINGS[spelling]
            found = Period(float(match[1]) * factor, base)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        found = Period(float(value), unit_of(unit))
    else:
        found = None
    if found is None or not (math.isfinite(found.count) and found.count > 0):
        raise HyperparameterError(
            f"{what}: expected a number and a unit, got {value!r}", hint='"2ep", "500step", "1e6sample" or "30min"'
        )
    return found


class Clock:
    """Where a run is. All counts begin at 0 and go up.

    - ``epoch``: passes over the training data that are complete.
    - ``batch``: batches of the current epoch that are complete.
    - ``micro``: micro-batches of the current batch that are complete.
    - ``step``: optimizer steps done; a skipped step does not count.
    - ``sample``: training samples seen.
    - ``token``: for sequence targets (n, length), target positions seen; otherwise equal to ``sample``.
    - ``second``: time that the run has taken, in seconds, those before it was resumed included. It goes on between
      :meth:`start` and :meth:`pause`.
    - ``batches``: batches in an epoch where that is known, else ``None``; it makes fractions of epochs countable.
    """

    COUNTS = ("epoch", "batch", "micro", "step", "sample", "token")

    __slots__ = (*COUNTS, "_since", "_spent", "batches")

    def __init__(self) -> None:
        self.epoch = self.batch = self.micro = self.step = self.sample = self.token = 0
        self.batches: int | None = None
        self._spent = 0.0
        self._since: float | None = None

    @property
    def second(self) -> float:
        return self._spent + (time.perf_counter() - self._since if self._since is not None else 0.0)

    def start(self) -> None:
        """Let ``second`` go on."""
        if self._since is None:
            self._since = time.perf_counter()

    def pause(self) -> None:
        """Hold ``second`` still."""
        self._spent, self._since = self.second, None

    def position(self, unit: str) -> float:
        """Where the run is in ``unit``; an epoch that is under way counts by its share of batches, where known."""
        if unit == "epoch" and self.batch and self.batches:
            # Its last batch does not complete an epoch: the evaluation and the record are still to come.
            return self.epoch + min(self.batch / self.batches, 1 - 1e-6)
        return float(getattr(self, unit))

    def state_dict(self) -> dict[str, float]:
        """The counts as plain data."""
        return {**{name: getattr(self, name) for name in self.COUNTS}, "second": self.second}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the counts to those of :meth:`state_dict`. Raises StateError for anything else."""
        try:
            counts = {name: int(state[name]) for name in self.COUNTS}
            spent = float(state.get("second", 0.0))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
            raise StateError(f"not the state of a clock: {state!r}") from exc
        if min(counts.values()) < 0 or not 0 <= spent < math.inf:
            raise StateError(f"a clock counts from 0, got {state!r}")
        for name, value in counts.items():
            setattr(self, name, value)
        self._spent = spent
        if self._since is not None:
            self._since = time.perf_counter()

    def __repr__(self) -> str:
        return f"Clock({', '.join(f'{name}={getattr(self, name)}' for name in self.COUNTS)})"


class Trigger:
    """Says once that another ``period`` of the clock is over.

    >>> every = Trigger("500step")                          # doctest: +SKIP
    >>> if every.due(clock): save()

    Where the clock jumps over several multiples at once, as samples do, that is one time. What it answers follows from
    the clock alone, so a resumed run triggers where the uninterrupted one does; :meth:`reset` tells it where the
    run begins or goes on.
    """

    def __init__(self, period: Any, what: str = "a period", unit: str = "step") -> None:
        self.period = parse_period(period, what, unit)
        self._passed = 0

    def reset(self, clock: Clock) -> None:
        """Count from the last multiple before the clock's position."""
        self._passed = self._number(clock)

    def due(self, clock: Clock) -> bool:
        """Whether a multiple of the period has been reached since the last call."""
        number = self._number(clock)
        fired = number > self._passed
        self._passed = number
        return fired

    def _number(self, clock: Clock) -> int:
        count, unit = self.period
        return math.floor(clock.position(unit) / count + 1e-9)  # three times 0.1 epochs is not to fall short of 0.3

    def __repr__(self) -> str:
        return f"Trigger({str(self.period)!r})"

"""What is wrong with a run, found from its figures: each detector turns evidence into words and a suggestion."""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import Any, NamedTuple


class Finding(NamedTuple):
    """One thing that was noticed."""

    kind: str  # "dead_units", "vanishing_gradients", "exploding_gradients", "loss_spike", "data_bound", ...
    where: str  # module, parameter or figure; "" for the run
    text: str  # what was seen, with its numbers
    suggestion: str
    evidence: dict[str, float]

    def __str__(self) -> str:
        return f"{self.text}. {self.suggestion}."


class LossSpike:
    """A step's loss far above those before it: more than ``factor`` times the median of the last ``window`` losses, and
    more than eight times their median distance from it away."""

    def __init__(self, factor: float = 3.0, window: int = 32) -> None:
        self.factor = factor
        self.recent: deque[float] = deque(maxlen=window)

    def see(self, loss: float, step: int) -> Finding | None:
        usual, recent = 0.0, self.recent
        spike = False
        if len(recent) >= 8 and math.isfinite(loss):
            usual = median(recent)
            spread = median(abs(value - usual) for value in recent)
            spike = loss - usual > max((self.factor - 1) * abs(usual), 8 * spread)
        if math.isfinite(loss):
            recent.append(loss)
        if not spike:
            return None
        return Finding(
            "loss_spike",
            "",
            f"the loss jumped to {loss:.4g} in step {step}; the median of the {len(recent) - 1} steps before was {usual:.4g}",
            "Lower the learning rate, clip the gradients (clip_norm=1.0) or look at that batch (flight_recorder)",
            {"loss": loss, "median": usual},
        )


class DataBound:
    """Steps that wait for data: more than ``share`` of the time of the last ``window`` batches."""

    def __init__(self, share: float = 0.4, window: int = 20) -> None:
        self.share = share
        self.window = window
        self.waited = self.took = 0.0
        self.batches = 0

    def see(self, waited: float, took: float) -> Finding | None:
        self.waited += waited
        self.took += took
        self.batches += 1
        if self.batches < self.window:
            return None
        share, each = self.waited / max(self.took, 1e-12), 1e3 * self.waited / self.batches
        batches, self.waited, self.took, self.batches = self.batches, 0.0, 0.0, 0
        if share < self.share:
            return None
        return Finding(
            "data_bound",
            "",
            f"{share:.0%} of the time of the last {batches} steps went into waiting for data ({each:.2g} ms a step)",
            "Load in workers (lunar_data.Loader(..., workers=2)), move transforms out of the loop, or keep the data in memory",
            {"share": share, "ms_per_step": each},
        )


class GradientFlow:
    """Layers that get next to no gradient, and gradients that grow out of bounds.

    It sees the root mean square of the gradient of each weight (arrays of two and more axes), in the order of the model,
    and the global norm. Vanishing: the first weight's is less than ``small`` times the largest, twice in a row. Exploding:
    the norm is not finite, or more than ``large`` times the median of those before.
    """

    def __init__(self, small: float = 1e-4, large: float = 100.0) -> None:
        self.small, self.large = small, large
        self.norms: deque[float] = deque(maxlen=20)
        self.weak = 0

    def see(self, sizes: dict[str, float], norm: float, step: int) -> list[Finding]:
        return [f for f in (self._vanishing(sizes, step), self._exploding(sizes, norm, step)) if f is not None]

    def _vanishing(self, sizes: dict[str, float], step: int) -> Finding | None:
        if len(sizes) < 3 or not all(math.isfinite(v) for v in sizes.values()):
            return None
        largest = max(sizes, key=sizes.__getitem__)
        first = next(iter(sizes))
        weak = sizes[largest] > 0 and sizes[first] < self.small * sizes[largest]
        self.weak = self.weak + 1 if weak else 0
        if self.weak < 2:
            return None
        lost = [name for name, value in sizes.items() if value < self.small * sizes[largest]]
        return Finding(
            "vanishing_gradients",
            first,
            f"hardly any gradient arrives at {', '.join(lost[:3])}{' ...' if len(lost) > 3 else ''}: its root mean square is "
            f"{sizes[first]:.2g} at {first} and {sizes[largest]:.2g} at {largest} (step {step})",
            "Use ReLU-like activations with He initialization, normalization layers or residual connections",
            {"first": sizes[first], "largest": sizes[largest], "layers": len(lost)},
        )

    def _exploding(self, sizes: dict[str, float], norm: float, step: int) -> Finding | None:
        usual = median(self.norms) if len(self.norms) >= 3 else 0.0
        if math.isfinite(norm):
            self.norms.append(norm)
            if not usual or norm <= self.large * usual:
                return None
        largest = max(sizes, key=lambda name: math.inf if math.isnan(sizes[name]) else sizes[name], default="")
        before = f"; the median before was {usual:.3g}" if usual else ""
        return Finding(
            "exploding_gradients",
            largest,
            f"the norm of the gradients is {norm:.3g} in step {step}, the most at {largest}{before}",
            "Clip the gradients (clip_norm=1.0), lower the learning rate or warm it up, and check the initialization",
            {"norm": norm, "median": usual},
        )


class DeadUnits:
    """Units of an activation that were 0 for every example of the last ``looks`` batches, if they are ``share`` or more."""

    def __init__(self, share: float = 0.5, looks: int = 3) -> None:
        self.share, self.looks = share, looks
        self.off: dict[str, tuple[Any, int]] = {}

    def see(self, path: str, off: Any) -> Finding | None:
        """``off``: for each unit, whether it was always 0 in this batch."""
        before, count = self.off.get(path, (off, 0))
        dead = off & before if before.shape == off.shape else off
        share = float(dead.mean())
        if share < self.share:
            self.off.pop(path, None)
            return None
        self.off[path] = dead, count + 1
        if count + 1 < self.looks:
            return None
        return Finding(
            "dead_units",
            path,
            f"{int(dead.sum())} of {dead.size} units of {path} gave 0 for every example of the {count + 1} batches that "
            "were looked at",
            "They get no gradient any more: lower the learning rate, use leaky_relu or gelu, or normalize before them",
            {"dead": int(dead.sum()), "units": dead.size, "share": share},
        )


class Plateau:
    """A figure that has not got better by more than ``gain`` of its value for ``patience`` epochs; where the training
    loss still falls meanwhile, that is overfitting."""

    def __init__(self, patience: int = 5, gain: float = 2e-3) -> None:
        self.patience, self.gain = patience, gain
        self.rows: list[dict[str, float]] = []

    def see(self, record: dict[str, Any]) -> Finding | None:
        name = "val_loss" if "val_loss" in record else "loss"
        values = {key: record[key] for key in ("loss", "val_loss") if isinstance(record.get(key), (int, float))}
        if name not in values or not all(math.isfinite(v) for v in values.values()):
            return None
        self.rows.append(values)
        if len(self.rows) <= self.patience or name not in self.rows[0]:
            return None
        old, new = self.rows[: -self.patience], self.rows[-self.patience :]
        best, latest = min(r[name] for r in old), min(r[name] for r in new)
        if latest < best - self.gain * abs(best):
            return None
        evidence = {"best": best, "latest": latest, "epochs": self.patience}
        if name == "val_loss" and new[-1]["loss"] < (1 - 5 * self.gain) * old[-1]["loss"]:
            return Finding(
                "overfitting",
                name,
                f"val_loss has not improved on {best:.4g} for {self.patience} epochs (best since: {latest:.4g}) while the "
                f"training loss fell from {old[-1]['loss']:.4g} to {new[-1]['loss']:.4g}",
                "Stop here (early_stopping), or add weight decay, dropout or augmentation",
                evidence,
            )
        return Finding(
            "plateau",
            name,
            f"{name} has not improved on {best:.4g} by more than {self.gain:.1%} for {self.patience} epochs (best since: "
            f"{latest:.4g})",
            "Lower the learning rate (scheduler plateau), look for the right one (lr_find), or stop",
            evidence,
        )


class Subnormals:
    """Arrays in which more than ``share`` of the values are subnormal, which many processors compute with very slowly.

    It also sees how long steps take: the median of the first ``window`` and of the last.
    """

    def __init__(self, share: float = 0.01, window: int = 10) -> None:
        self.share, self.window = share, window
        self.first: list[float] = []
        self.last: deque[float] = deque(maxlen=window)

    def time(self, took: float) -> None:
        if len(self.first) < self.window:
            self.first.append(took)
        self.last.append(took)

    def see(self, shares: dict[str, float]) -> Finding | None:
        found = {where: share for where, share in shares.items() if share > self.share}
        if not found:
            return None
        worst = max(found, key=found.__getitem__)
        slower = median(self.last) / median(self.first) if len(self.first) == self.window else 1.0
        more = f" and in {len(found) - 1} more" if len(found) > 1 else ""
        return Finding(
            "subnormals",
            worst,
            f"{found[worst]:.1%} of the values of {worst} are subnormal numbers{more}; steps take {slower:.2g} times as long "
            "as the first ones did",
            "Processors are slow with them: call lunar_core.set_flush_denormal(True) before training",
            {"share": found[worst], "arrays": len(found), "slower": slower},
        )

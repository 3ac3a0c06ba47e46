"""One clock for a run: every schedule, trigger and record counts in its units."""

from __future__ import annotations


class Clock:
    """Where a run is. All counts begin at 0 and go up.

    - ``epoch``: passes over the training data that are complete.
    - ``batch``: batches of the current epoch that are complete.
    - ``micro``: micro-batches of the current batch that are complete.
    - ``step``: optimizer steps done; a skipped step does not count.
    - ``sample``: training samples seen.
    - ``token``: for sequence targets (n, length), target positions seen; otherwise equal to ``sample``.
    """

    __slots__ = ("batch", "epoch", "micro", "sample", "step", "token")

    def __init__(self) -> None:
        self.epoch = self.batch = self.micro = self.step = self.sample = self.token = 0

    def state_dict(self) -> dict[str, int]:
        """The counts as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Set the counts to those of :meth:`state_dict`."""
        for name in self.__slots__:
            setattr(self, name, int(state[name]))

    def __repr__(self) -> str:
        return f"Clock({', '.join(f'{k}={v}' for k, v in self.state_dict().items())})"

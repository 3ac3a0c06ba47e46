"""Stopping in good order: SIGTERM and SIGINT are noted, and acted upon where the run's state is whole."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

#: What is taken over. Windows has no SIGTERM from other processes, but the name.
SIGNALS = tuple(s for s in (getattr(signal, "SIGTERM", None), signal.SIGINT) if s is not None)


class Interrupted(BaseException):
    """Unwinds a run that a signal stopped, to where it is committed; never seen outside of ``fit``."""


class Stop:
    """Which signal arrived: ``stop.signum``, or ``None``; true once one has."""

    signum: int | None = None

    def __bool__(self) -> bool:
        return self.signum is not None

    def exception(self) -> BaseException:
        """What ends the process as the signal would: KeyboardInterrupt, or SystemExit with 128 + signal number."""
        return KeyboardInterrupt() if self.signum == signal.SIGINT else SystemExit(128 + (self.signum or 0))


@contextlib.contextmanager
def deferred() -> Iterator[Stop]:
    """A block in which the first SIGTERM or SIGINT is only noted in the :class:`Stop` that it gives.

    A loop looks at it after each batch, saves, and raises ``stop.exception()``::

        with deferred() as stop:
            for batch in batches:
                train(batch)
                if stop:
                    saver.save(parts)
                    raise stop.exception()

    A second SIGINT raises KeyboardInterrupt at once, wherever the program is. Signals that the process ignores stay
    ignored. Outside of the main thread, where Python delivers no signals, nothing is taken over. The handlers that were
    there before come back when the block ends, and a block inside of such a block shares its Stop.
    """
    outer = [h.__self__ for h in map(signal.getsignal, SIGNALS) if isinstance(getattr(h, "__self__", None), _Handler)]
    if outer or threading.current_thread() is not threading.main_thread():
        yield outer[0].stop if outer and threading.current_thread() is threading.main_thread() else Stop()
        return
    handler = _Handler()
    before: dict[int, Any] = {}
    try:
        for number in SIGNALS:
            known = signal.getsignal(number)
            if known is not signal.SIG_IGN and known is not None:  # None: installed from C, which cannot be put back
                before[number] = known
                signal.signal(number, handler.received)
        yield handler.stop
    finally:
        for number, known in before.items():
            signal.signal(number, known)


class _Handler:
    def __init__(self) -> None:
        self.stop = Stop()

    def received(self, signum: int, frame: Any) -> None:
        if self.stop.signum is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        if self.stop.signum is None:
            self.stop.signum = signum

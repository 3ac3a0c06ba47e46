"""Training: the Trainer and the parts that a hand-written loop shares with it."""

from .clock import Clock
from .context import Context
from .errors import DivergenceError
from .history import History
from .rundir import RunDir
from .trainer import Trainer

__all__ = ["Clock", "Context", "DivergenceError", "History", "RunDir", "Trainer"]

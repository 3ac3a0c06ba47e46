"""Training: the Trainer and the parts that a hand-written loop shares with it."""

from .checkpoint import Checkpoint, Checkpointer, CheckpointWarning
from .clock import Clock, Period, Trigger, parse_period
from .context import Context
from .errors import DivergenceError
from .history import History
from .precision import LossScaler
from .rehearsal import dry_run, overfit
from .rundir import RunDir
from .signals import deferred
from .tools import find_batch_size, lr_find
from .trainer import Trainer

__all__ = [
    "Checkpoint",
    "CheckpointWarning",
    "Checkpointer",
    "Clock",
    "Context",
    "DivergenceError",
    "History",
    "LossScaler",
    "Period",
    "RunDir",
    "Trainer",
    "Trigger",
    "deferred",
    "dry_run",
    "find_batch_size",
    "lr_find",
    "overfit",
    "parse_period",
]

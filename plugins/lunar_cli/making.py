"""A Trainer from the parts of a recipe, for commands that train for a moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def trainer_of(parts: Any, plugins: Sequence[Any] = ()) -> Any:
    """The Trainer of a recipe's :class:`~lunar_cli.recipe.Parts`, which shows nothing; ``plugins`` come first."""
    from lunar_training import Trainer

    settings = parts.settings
    return Trainer(
        parts.model,
        parts.loss,
        parts.optimizer,
        scheduler=parts.scheduler,
        metrics=parts.metrics,
        regularizers=parts.regularizers,
        plugins=[*plugins, *parts.callbacks],
        device=settings.device,
        clip_norm=settings.clip_norm,
        micro_batches=settings.micro_batches,
        progress="off",
    )

"""Metrics: streaming, mergeable, exact on batches of any size."""

from lunar_metrics.accuracy import Accuracy

__all__ = ["Accuracy"]

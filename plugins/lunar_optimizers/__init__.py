"""Optimizers: how gradients become steps. Each is one class and one entry point of group ``lunar.optimizers``."""

"""Gradient processors: what happens to gradients before the step. Each is one class and one entry point of group
``lunar.gradient_processors``."""

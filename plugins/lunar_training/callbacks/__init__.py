"""Callbacks that ship with the training loop, one class in each file."""

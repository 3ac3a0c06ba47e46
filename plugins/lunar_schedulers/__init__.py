"""Schedulers: how a hyperparameter moves. Each is one class and one entry point of group ``lunar.schedulers``."""

"""Parametrizations: parameters that are computed from others. Each is one class and one entry point of group
``lunar.parametrizations``."""

"""Activations: one component to a module. They are found by name through entry points; no list is kept here."""

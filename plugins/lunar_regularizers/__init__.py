"""Regularizers: penalties on a model. They are found by name through entry points; no list is kept here."""

"""Losses: sums and weights. They are found by name through entry points; no list is kept here."""

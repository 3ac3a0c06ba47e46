"""Writes ``docs/catalogue/``: a page for each kind of component, from the registry, the docstrings and the fields.

``python -m docs.generator`` in the root of the repository writes what has changed; ``--check`` only says what would.
"""

"""A package written against plugin API 1.0. It is not to be edited: it stands for all that are installed out there."""

PLUGIN_API = (1, 0)

"""Data that is made, not collected: for research, for tests of models and for lessons.

Each set is a function of its hyperparameters and its own ``seed``; nothing else that is drawn in a program changes it.
"""

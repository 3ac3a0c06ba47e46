"""Kernel providers: faster functions for the heavy ops, where this machine has a library for them.

``onednn`` calls oneDNN (libdnnl) through ctypes. It is found by name through its entry point; no list is kept here.
"""

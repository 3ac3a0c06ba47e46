"""The commands of ``lunar``, one module each."""

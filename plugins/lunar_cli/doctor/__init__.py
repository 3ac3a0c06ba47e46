"""The examination behind ``lunar doctor``.

- :mod:`.metadata`: what is to be seen without importing anything
- :mod:`.worker`: loads components, and rehearses hook plugins, in a process of its own
- :mod:`.loading`: runs workers and says what became of them
- :mod:`.machine`: kernel providers and devices
- :mod:`.report`: all of it together
"""

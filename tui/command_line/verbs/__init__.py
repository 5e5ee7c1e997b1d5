"""One handler per verb: it calls the engine and prints what docker prints.

Owns the output and exit codes of the command line. Never decides what the engine does. Called by ``main.execute`` with
a parsed ``Command`` and a ``Session``; a handler returns the exit code and raises ``EngineError`` to fail.
"""

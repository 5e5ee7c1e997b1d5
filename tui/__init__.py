"""The faces of Pilothouse: the Textual console and the docker-like command line.

Owns everything an operator sees or types. Never touches the kernel, the database or a file of the engine: it calls
``engine`` only. Importing this package loads nothing; the command line never loads Textual.
"""

"""How fast it is, on this machine, now: ``sudo .venv/bin/python -m tests.bench [JOB…] [--runs N]``.

Owns measuring and printing: the median of several runs, in two columns, *in-process* (the engine called as the console
calls it) and *CLI* (a whole command, as docker and podman are measured). Asserts nothing: figures are for people, and a
busy machine has others. Each column works on a private machine with a data root of its own.
"""

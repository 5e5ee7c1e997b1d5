"""docker's grammar: the command line itself and the console's ``:`` line.

Owns the verbs and flags as data, one parser for them, and one handler per verb that calls the engine and prints what
docker prints. Never imports Textual, and nothing of the engine before a verb needs it. Called by the ``pilothouse``
program and by the console.
"""

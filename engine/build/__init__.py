"""Building images from Dockerfiles, in four stages that are testable alone.

Text → ``parser`` (nodes with their lines) → ``instructions`` (typed, flags checked) → ``expansion`` and ``scope``
(variables) → ``cache`` (pure keys) → ``executor`` (file system and processes). ``builder.Builder`` puts them together.
Owns the meaning of a Dockerfile and of its build context. Never talks to a registry, never keeps images or layers:
``engine.images`` does. Called by the composition root, ``tui`` and ``images`` (``metadata`` for ``--change``).
"""

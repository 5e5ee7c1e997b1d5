"""Storage drivers: writable directories over sealed layers, and layers to tar and back.

Owns the driver directories (``overlay2/``, ``vfs/``), the tar codec, whiteouts and rooted extraction. Never decides
what an image is, never opens the state database. Called by ``engine.images``, ``engine.containers`` and
``engine.build``; nobody else touches a driver's directories.
"""

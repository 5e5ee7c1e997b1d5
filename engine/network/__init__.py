"""Networks, sandboxes, endpoints, published ports: from a container's network mode to links, addresses and rules.

Owns the rows of networks, endpoints and port reservations, and every network object of a container (namespace file,
veth pair, address, bound ports). Rule texts belong to ``engine.firewall``, system calls to ``engine.host``. Called by
``engine.containers``, the exit hook, the command line and the console, all through ``Networks``. Standard library only.
"""

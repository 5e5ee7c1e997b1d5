"""Raw netlink: the few kernel requests that must be fast, through the standard library alone.

Owns the wire format and one function per request (links, addresses, routes, neighbours, namespaces, conntrack). Never
decides which link, address or route there should be. A ``Connection`` speaks to the network namespace of the thread
that opened it and never crosses threads. Called by ``engine.network``, ``engine.topology`` and the exit hook.
"""

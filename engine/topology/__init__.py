"""The topology: which links, bridges and containers the kernel joins, as one picture.

Owns reading it from the kernel (netlink alone, no container is entered), joining it with the engine's records, and its
text form. Never changes anything. Called by the console's sampler and by the command line.
"""

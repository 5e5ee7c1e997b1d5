"""The thin layer over the kernel: system calls, mounts, processes, cgroups, network namespaces, netlink, sysctls.

Owns one function per effect, each raising ``HostError`` with the step in words. Decides nothing: no policy, no state,
no names of containers or networks. Called by the engine's services, the exit hook and the warden; never by ``tui``.
"""

"""Containers: configuration, OCI spec, life cycle, exec, attach, logs, the exit hook, the warden.

Owns the ``containers`` and ``duties`` tables, the bundles under the run dir and every conmon and runtime process. Never
makes links, rules or layers itself: it asks the network, firewall, storage and image services. Called by the command
line, the console, the builder (``step``), and by its own two programs, the exit hook and the warden.
"""

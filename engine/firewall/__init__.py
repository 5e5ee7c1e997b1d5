"""The firewall: what the engine wants in iptables, how it gets there, and what both backends really hold.

Owns the chains named after the engine's prefix, the rules of bridges in the chains shared with others, and the table
``firewall_rules`` that remembers them. Never touches a rule of anybody else, the chain of the administrator's rules
included; makes no links and sets no sysctls. Called by ``engine.network`` (``Firewall.sync``), by the console's
sampler (``Firewall.observe``) and by ``engine.topology``.
"""

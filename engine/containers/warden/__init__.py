"""The warden: one small process per run dir that exists only while a duty waits.

Owns waiting for duties to fall due and starting a short-lived child for each. Never acts on containers itself and
loads nothing it does not need.
"""

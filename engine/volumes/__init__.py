"""Volumes: storage that outlives the containers that use it.

Owns the volume rows and their directories, and filling a new one from an image. Never mounts and never starts
anything. Called by the container service and by the faces.
"""

"""Images: references, content by digest, layers, and what is done with them.

Owns ``blobs/`` (an OCI image layout), the tables images, image_names and layers, and every way an image comes to be
(load, import, commit, the busybox of the host) or goes. Never runs a container, never parses a Dockerfile, never
touches a storage driver's files except through its interface. Called by ``engine.build``, ``engine.containers`` and
the faces above the engine.
"""

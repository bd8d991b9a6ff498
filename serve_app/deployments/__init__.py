"""Headrace on Ray Serve: thin shims around plain objects, handles that look like the plain objects, and the launcher.

Knows Ray; knows nothing about routing, prices or text. With `graphs/` the only place that imports ray.
"""

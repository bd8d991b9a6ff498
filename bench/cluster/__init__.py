"""A graph on a cluster: placed, scaled, hurt, overloaded and updated under load. `python -m bench.cluster`."""

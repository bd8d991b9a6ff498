"""The cascade on recorded outcomes of the shipped models. `python -m bench.cascade`; see its `__main__`."""

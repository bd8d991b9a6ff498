"""Adapters that come, go and change under load: is any answer lost, or of another version than it says?

`python -m bench.lifecycle`. `graph` runs the real engine twice behind two gateways, `changes` makes and logs the
changes, `verdict` judges every answer by that log and by what each version answers when it is asked alone.
"""

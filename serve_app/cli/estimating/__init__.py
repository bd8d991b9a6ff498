"""What a user's own log would cost and risk behind Headrace: who answers (`server`, `in_process`), and the figures.

Writes nothing of a user's text anywhere.
"""

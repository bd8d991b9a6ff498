"""The `headrace` command: Typer sub-commands, one file each, put together in `main`.

Errors are one sentence on stderr: exit code 1 for a failure, 2 for usage.
"""

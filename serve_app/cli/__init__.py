"""The `headrace` command: Typer sub-commands, one file each.

Errors are one sentence on stderr: exit code 1 for a failure, 2 for usage.
"""

from serve_app.cli.main import app, main

__all__ = ["app", "main"]

"""`python -m serve_app.cli`: the same as `headrace`."""

from serve_app.cli.main import main

main()

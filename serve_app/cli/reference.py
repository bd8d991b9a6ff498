"""`headrace reference`: prints the pages of docs/ that are written from the code."""

import typer

app = typer.Typer(help="Print reference pages, written from the code itself.", no_args_is_help=True)


@app.command()
def config() -> None:
    """Print docs/configuration.md: every settings key with its default and meaning."""
    from serve_app.config.reference import markdown

    typer.echo(markdown(), nl=False)


@app.command()
def http() -> None:
    """Print docs/http.md: every page of the gateway with its fields and errors."""
    from serve_app.gateway.app import description
    from serve_app.gateway.reference import markdown

    typer.echo(markdown(description()), nl=False)


@app.command()
def cli(context: typer.Context) -> None:
    """Print docs/cli.md: every command with its help."""
    from typer.cli import get_docs_for_click

    root = context.find_root()
    page = get_docs_for_click(obj=root.command, ctx=typer.Context(root.command), name="headrace")
    typer.echo("\n".join(line.rstrip() for line in page.splitlines()))

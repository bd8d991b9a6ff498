"""`headrace models`: which models the catalogue knows, fetching them, checking them."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from serve_app.cli.options import Json

app = typer.Typer(help="The model catalogue.", no_args_is_help=True)

DEMO_MODELS = ("all-minilm-l6-v2", "smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct")
TITLES = ("name", "role", "licence", "download", "on disk", "state")
UNFETCHED = ("absent", "partial")


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """Show the models of the catalogue and whether they are on this machine."""
    from rich.console import Console
    from rich.table import Column, Table

    from serve_app import catalogue

    rows: list[dict[str, Any]] = [
        {
            "name": entry.alias,
            "role": entry.role,
            "licence": entry.licence,
            "format": entry.format,
            "download_bytes": entry.download_bytes,
            "model_bytes": entry.model_bytes,
            "state": catalogue.state(entry),
        }
        for entry in catalogue.entries().values()
    ]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(*(Column(title, no_wrap=title != "role") for title in TITLES), box=None, collapse_padding=True)
    for row in rows:
        sizes = (_size(row["download_bytes"]), _size(row["model_bytes"]))
        table.add_row(row["name"], row["role"], row["licence"], *sizes, row["state"])
    Console().print(table)


@app.command()
def pull(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", show_default=False)] = None,
    demo: Annotated[bool, typer.Option("--demo", help="The three models that the demo needs.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Fetch and convert anew what is already here.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch models and convert them once; goes on where an earlier pull ended."""
    wanted = list(dict.fromkeys([*(names or []), *(DEMO_MODELS if demo else ())]))
    if not wanted:
        raise typer.BadParameter("name at least one model, or give --demo; `headrace models list` shows them")
    from serve_app import catalogue
    from serve_app.cli.pull_progress import PullProgress

    for name in wanted:  # a wrong last name is said before the first download
        catalogue.entry(name)
    done: list[dict[str, Any]] = []
    with PullProgress() as progress:
        for name in wanted:
            before = progress.downloaded_bytes
            files = catalogue.pull(name, progress, force=force)
            row = {"name": name, "path": str(files.path), "source_digest": files.source_digest}
            done.append({**row, "downloaded_bytes": progress.downloaded_bytes - before})
    if as_json:
        print(json.dumps({"models": done, "downloaded_bytes": progress.downloaded_bytes}))
        return
    for row in done:
        print(f"{row['name']}: {row['path']}")
    print(f"{progress.downloaded_bytes / 1e6:.0f} MB downloaded.")


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]")] = None, as_json: Json = False
) -> None:
    """Read every file of the named models (or of all that were pulled) and compare it with what was pulled."""
    from rich.progress import track

    from serve_app import catalogue

    wanted = names or [name for name, entry in catalogue.entries().items() if catalogue.state(entry) not in UNFETCHED]
    done = [catalogue.verify(name) for name in track(wanted, "verifying", transient=True, disable=as_json)]
    if as_json:
        print(json.dumps([{"name": files.alias, "source_digest": files.source_digest} for files in done]))
        return
    print("\n".join(f"{files.alias}: whole" for files in done) or "No model has been pulled yet.")


def _size(num_bytes: int) -> str:
    """1_271_900_000 -> '1.27 GB'; 0 -> '-' (not known before the pull)."""
    if num_bytes == 0:
        return "-"
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"

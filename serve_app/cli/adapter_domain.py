"""A new domain in one command: the router learns its label from examples, and the running graph routes to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from serve_app.cli.admin_client import AdminClient
from serve_app.cli.router_tables import added_label
from serve_app.core import HeadraceError

if TYPE_CHECKING:
    from serve_app.training.router import Extended


@dataclass(frozen=True, slots=True)
class Taught:
    """A longer router, on disk, and the revision of the routing that it shall follow."""

    label: str
    folder: Path
    after: int
    extended: Extended

    @property
    def figures(self) -> dict[str, Any]:
        """For JSON."""
        return {"label": self.label, "router": str(self.folder), **added_label(self.extended)}


def teach(client: AdminClient, label: str, examples: Path, out: Path, router: Path | None, visible: bool) -> Taught:
    """Add the label to the router that the server answers with, of which `router` is the folder; write it to `out`.

    Raises HeadraceError where the folder is another router, DataError for bad examples, ConfigError where the router
    cannot take a label.
    """
    from serve_app.adapters.registry.routing import ROUTER_FILES, digest_of
    from serve_app.cli.router import encoder_of, router_folder
    from serve_app.cli.router_tables import progress
    from serve_app.router import read_rows
    from serve_app.router.artifact import read, write
    from serve_app.training.router import add_label

    rows = read_rows(examples, {label})
    routing = client.get("/v1/routing")
    folder = router_folder(router)
    old = read(folder)
    if digest_of({name: (folder / name).read_bytes() for name in ROUTER_FILES}) != routing["answering"]:
        raise HeadraceError(
            f"The server answers with another router than {folder}: name the folder of its router with --router."
        )
    with progress(visible) as report:
        extended = add_label(old, label, rows, encoder_of(None), report)
    write(extended.artifact, out)
    return Taught(label, out, int(routing["revision"]), extended)


def apply(client: AdminClient, taught: Taught, adapter: str) -> dict[str, Any]:
    """Put the longer router in force, with a route from its new label to the adapter."""
    from serve_app.adapters.registry.routing import ROUTER_FILES

    fields = {
        "routes": json.dumps({taught.label: adapter}),
        "after": str(taught.after),
        "detail": f"the domain {taught.label}",
    }
    return client.send_files("/v1/routing", fields, [taught.folder / name for name in ROUTER_FILES], method="PATCH")


def show(taught: Taught) -> None:
    """The confusion matrix before and after."""
    from rich.console import Console

    from serve_app.cli.router_tables import confusions

    Console().print(confusions(taught.extended))
    low, high = taught.extended.new_right_95
    typer.echo(f"New rows told by the others: {low:.0%} to {high:.0%}. Router written to {taught.folder}.")

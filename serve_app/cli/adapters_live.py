"""`headrace adapters add|canary|promote|…`: the adapters of a running server, each command one call of its API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from serve_app.cli import adapter_domain
from serve_app.cli.admin_client import AdminClient
from serve_app.cli.connection import DEFAULT_URL
from serve_app.cli.options import AdminKey, Json, ServerUrl
from serve_app.cli.terminal import console

Name = Annotated[str, typer.Argument(help="The adapter's name.")]
_FILES = ("adapter_config.json", "adapter_model.safetensors", "headrace.json", "README.md")


def mount(app: typer.Typer) -> None:
    """Adds the commands to `headrace adapters`."""
    for command in (add, canary, promote, rollback, remove, pin, unpin, audit):
        app.command(command.__name__)(command)


def add(
    name: Annotated[str, typer.Argument(help="What clients will ask for.")],
    source: Annotated[
        str, typer.Argument(help="A folder, hf://ORG/NAME[@REVISION], or a URI such as s3://BUCKET/FOLDER.")
    ],
    weight: Annotated[
        float | None, typer.Option("--canary", min=0, max=1, help="Share of the name's conversations that it answers.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="It answers all of them, from now on.")] = False,
    pinned: Annotated[bool, typer.Option("--pin", help="Keep it resident in every engine.")] = False,
    base_override: Annotated[
        bool, typer.Option("--base-override", help="Accept an adapter of another base whose shapes fit; unverified.")
    ] = False,
    on_server: Annotated[
        bool, typer.Option("--on-server", help="SOURCE is a folder of the server; without it, it is sent from here.")
    ] = False,
    examples: Annotated[
        Path | None,
        typer.Option(help='JSONL rows {"text", "label"} of a new domain: the router learns it, and routes it here.'),
    ] = None,
    router_out: Annotated[Path | None, typer.Option(help="Folder for the longer router; with --examples.")] = None,
    router: Annotated[
        Path | None, typer.Option(help="Folder of the server's router; default: router.artifact of the settings.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="The new label; default: NAME.")] = None,
    url: ServerUrl = DEFAULT_URL,
    key: AdminKey = None,
    as_json: Json = False,
) -> None:
    """Add a version: fetched, checked, tried on an engine, and staged; with --live or --canary it answers then.

    With --examples the router learns the adapter's domain, too, and routes it to the adapter, while queries run.
    """
    if live and weight is not None:
        raise typer.BadParameter("give --live or --canary, not both.")
    if (examples is None) != (router_out is None):
        raise typer.BadParameter("--examples and --router-out go together.")
    if examples is None and (label is not None or router is not None):
        raise typer.BadParameter("--label and --router go with --examples.")
    fields: dict[str, Any] = {"name": name, "live": live, "base_override": base_override, "pin": pinned}
    if weight is not None:
        fields["canary"] = weight
    client, taught = AdminClient(url, key), None
    if examples is not None and router_out is not None:
        taught = adapter_domain.teach(client, label or name, examples, router_out, router, not as_json)
    told = _added(client, fields, source, on_server)
    if taught is not None:
        told["routing"] = adapter_domain.apply(client, taught, name)
        told["taught"] = taught.figures
    if as_json:
        typer.echo(json.dumps(told))
        return
    checked = "verified" if told["base_verified"] else "unverified: no digest ties it to the base"
    typer.echo(f"{name} {told['version']} is {told['state']} ({checked}, rank {told['rank']}).")
    if taught is not None:
        adapter_domain.show(taught)
        typer.echo(f"Queries of {taught.label!r} go to {name} (routing revision {told['routing']['revision']}).")


def _added(client: AdminClient, fields: dict[str, Any], source: str, on_server: bool) -> dict[str, Any]:
    folder = Path(source).expanduser()
    if "://" in source or source.startswith("shipped:") or on_server:
        return client.post("/v1/adapters", {**fields, "source": source})
    if not folder.is_dir():
        raise typer.BadParameter(f"{source} is no folder here; give the folder that your trainer saved, or a URI.")
    return client.send_files("/v1/adapters", fields, [folder / file for file in _FILES if (folder / file).exists()])


def _page(name: str) -> str:
    """Of one adapter: whatever the name holds, it names no other.

    >>> _page("legal#2")
    '/v1/adapters/legal%232'
    """
    return f"/v1/adapters/{quote(name, safe='')}"


def canary(
    name: Name,
    weight: Annotated[float, typer.Argument(min=0, max=1, help="Share of the conversations, 0 to 1.")],
    version: Annotated[str | None, typer.Option(help="A staged version; default: the canary, else the newest.")] = None,
    url: ServerUrl = DEFAULT_URL,
    key: AdminKey = None,
    as_json: Json = False,
) -> None:
    """Give a staged version a share of the conversations, or change the canary's share."""
    body: dict[str, Any] = {"canary": weight} | ({"version": version} if version else {})
    _show(AdminClient(url, key).patch(_page(name), body), as_json)


def promote(
    name: Name,
    version: Annotated[str | None, typer.Option(help="Default: the canary.")] = None,
    url: ServerUrl = DEFAULT_URL,
    key: AdminKey = None,
    as_json: Json = False,
) -> None:
    """Make the canary, or another version, live."""
    _show(AdminClient(url, key).patch(_page(name), {"promote": version or True}), as_json)


def rollback(
    name: Name,
    version: Annotated[
        str | None, typer.Option(help="The version that shall go; where it is gone already, nothing changes.")
    ] = None,
    url: ServerUrl = DEFAULT_URL,
    key: AdminKey = None,
    as_json: Json = False,
) -> None:
    """Withdraw the canary; without one the version before the live one is live again."""
    _show(AdminClient(url, key).patch(_page(name), {"rollback": version or True}), as_json)


def remove(name: Name, url: ServerUrl = DEFAULT_URL, key: AdminKey = None, as_json: Json = False) -> None:
    """Retire all versions of an adapter; what was begun is answered."""
    _show(AdminClient(url, key).delete(_page(name)), as_json)


def pin(name: Name, url: ServerUrl = DEFAULT_URL, key: AdminKey = None, as_json: Json = False) -> None:
    """Keep an adapter resident in every engine."""
    _show(AdminClient(url, key).patch(_page(name), {"pin": True}), as_json)


def unpin(name: Name, url: ServerUrl = DEFAULT_URL, key: AdminKey = None, as_json: Json = False) -> None:
    """Let an adapter be evicted again."""
    _show(AdminClient(url, key).patch(_page(name), {"pin": False}), as_json)


def audit(
    name: Annotated[str | None, typer.Option(help="Of this adapter only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Lines, the newest first.")] = 50,
    url: ServerUrl = DEFAULT_URL,
    key: AdminKey = None,
    as_json: Json = False,
) -> None:
    """Show who changed what."""
    wanted = {"limit": str(limit)} | ({"name": name} if name else {})
    lines = AdminClient(url, key).get("/v1/adapters/audit", wanted)["data"]
    if as_json:
        typer.echo(json.dumps(lines))
        return
    from datetime import UTC, datetime

    from rich.table import Table

    table = Table("revision", "time (UTC)", "who", "what", "adapter", "version", "detail", box=None)
    for line in lines:
        at = datetime.fromtimestamp(line["at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
        who = (line["actor"], line["action"], line["name"], line["version"] or "", line["detail"])
        table.add_row(str(line["revision"]), at, *who)
    console().print(table)


def list_served(url: str, key: str | None, as_json: bool) -> None:
    """The adapters of a running server; see `headrace adapters list`."""
    found = AdminClient(url, key).get("/v1/adapters")["data"]
    if as_json:
        typer.echo(json.dumps(found))
        return
    from rich.table import Table

    table = Table("name", "live", "canary", "weight", "pinned", "versions", box=None)
    for one in found:
        weight = f"{one['canary_weight']:g}" if one["canary"] else ""
        states = ", ".join(f"{each['version']} {each['state']}" for each in one["versions"])
        table.add_row(
            one["name"], one["live"] or "", one["canary"] or "", weight, "yes" if one["pinned"] else "", states
        )
    console().print(table)


def _show(adapter: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(adapter))
        return
    parts = [f"live {adapter['live']}" if adapter["live"] else "no live version"]
    if adapter["canary"]:
        parts.append(f"canary {adapter['canary']} at {adapter['canary_weight']:g}")
    if adapter["pinned"]:
        parts.append("pinned")
    typer.echo(f"{adapter['name']}: {', '.join(parts)} (revision {adapter['revision']}).")

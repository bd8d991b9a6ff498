"""`headrace check`: the production checklist; `headrace record`: what it takes as evidence."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serve_app.cli.options import Json, check_output
from serve_app.core.files import write_whole

if TYPE_CHECKING:
    from rich.text import Text

    from serve_app.checklist import Facts, Item
    from serve_app.config import Settings

_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red", "not_applicable": "dim"}
_WORDS = {"not_applicable": "n/a"}

Config = Annotated[
    str | None, typer.Option("--config", help="Settings file or packaged profile; default: HEADRACE_CONFIG, else demo.")
]


def check(
    profile: Annotated[
        Literal["demo", "production"], typer.Option(help="What is asked for: of a demonstration, or of production.")
    ] = "production",
    config: Config = None,
    url: Annotated[
        str | None, typer.Option(help="A running server to look at as well, such as http://127.0.0.1:8000.")
    ] = None,
    key: Annotated[str | None, typer.Option(envvar="HEADRACE_ADMIN_KEY", help="Its admin key.")] = None,
    area: Annotated[list[str] | None, typer.Option(help="Only this area; may be given several times.")] = None,
    as_json: Json = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file as well.")] = None,
) -> None:
    """Run the production checklist on settings, artefacts, records and a server; exit 1 where something fails."""
    from serve_app.checklist.item import AREAS
    from serve_app.checklist.render import as_json as items_as_json
    from serve_app.checklist.render import as_junit
    from serve_app.checklist.run import passed

    unknown = sorted(set(area or ()) - set(AREAS))
    if unknown:
        raise typer.BadParameter(f"there is no area {unknown[0]!r}; choose of {', '.join(AREAS)}", param_hint="--area")
    if junit is not None:
        check_output(junit, "--junit")
    items = asyncio.run(_items(profile, config, url, key, area))
    if junit is not None:
        write_whole(junit, as_junit(items))
    if as_json:
        typer.echo(json.dumps(items_as_json(items, profile), indent=1))
    else:
        _print(items)
    if not passed(items):
        raise typer.Exit(1)


def record(
    kind: Annotated[str, typer.Argument(help="load_test, chaos, backup, restore, rollback or safety.")],
    figures: Annotated[
        Path | None, typer.Option(help="JSON file of what was measured, such as a bench wrote.", exists=True)
    ] = None,
    note: Annotated[str | None, typer.Option(help="What was done, in words.")] = None,
    config: Config = None,
) -> None:
    """Write down that something was done, for the checklist: a load test, a chaos run, a backup, a rehearsal."""
    from serve_app.checklist.records import RECORD_KINDS, Records

    found = next((one for one in RECORD_KINDS if one == kind), None)
    if found is None:
        raise typer.BadParameter(
            f"{kind!r} is no kind of record; choose of {', '.join(RECORD_KINDS)}", param_hint="KIND"
        )
    if figures is None and note is None:
        raise typer.BadParameter("say what was done: --figures FILE, --note TEXT, or both", param_hint="--note")
    body = (_figures(figures) if figures else {}) | ({"note": note} if note else {})
    settings, _ = _read(config)
    records = Records(Path.cwd() / Path(settings.checklist.records).expanduser())
    typer.echo(f"{records.write(found, body)} is written.")


async def _items(
    profile: Literal["demo", "production"],
    config: str | None,
    url: str | None,
    key: str | None,
    areas: list[str] | None,
) -> list[Item]:
    from serve_app.checklist.checks import all_checks
    from serve_app.checklist.run import run

    facts = _facts(profile, config, url, key)
    return await run(facts, [check for check in all_checks() if areas is None or check.area in areas])


def _facts(profile: Literal["demo", "production"], config: str | None, url: str | None, key: str | None) -> Facts:
    from serve_app.checklist.facts import Facts, Server
    from serve_app.cli.admin_client import AdminClient

    server = None
    if url is not None:
        client = AdminClient(_address(url), key)

        async def page(path: str) -> dict[str, Any]:
            return await asyncio.to_thread(client.get, path)

        server = Server(page)
    settings, file = _read(config)
    return Facts(settings, profile, Path.cwd(), server, file)


def _address(url: str) -> str:
    """Once for all checks. Raises typer.BadParameter."""
    import httpx

    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise typer.BadParameter(f"{url!r} is no address of a server; write http://HOST:PORT.", param_hint="--url")
    return url


def _read(config: str | None) -> tuple[Settings, Path | None]:
    """The settings, and their file; None: they are a packaged profile.

    Their relative paths start from the working directory, as they do for `headrace serve`.
    """
    from serve_app.config import load, profiles
    from serve_app.config.load import config_path

    path = config_path(config)
    if path in profiles().values():
        return load(config), None
    return load(config), path


def _figures(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise typer.BadParameter(f"{file} is no JSON file: {error}", param_hint="--figures") from error
    if not isinstance(found, dict):
        raise typer.BadParameter(f"{file} holds no JSON object", param_hint="--figures")
    return found


def _print(items: list[Item]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("item", "", "what was seen, and what mends it", box=None, pad_edge=False)
    for item in items:
        table.add_row(f"{item.id}\n{item.title}", verdict(item.status), said(item.evidence, item.fix))
    console = Console()
    console.print(table)
    counts = {status: sum(item.status == status for item in items) for status in _STYLES}
    console.print(", ".join(f"{count} {_WORDS.get(status, status)}" for status, count in counts.items()))


def verdict(status: str) -> Text:
    """A status in its colour."""
    from rich.text import Text

    return Text(_WORDS.get(status, status), style=_STYLES[status])


def said(evidence: str, fix: str) -> Text:
    """What was seen, and below it what mends it."""
    from rich.text import Text

    text = Text(evidence)
    if fix:
        text.append(f"\n→ {fix}", style="italic")
    return text

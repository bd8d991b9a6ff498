"""`headrace rag …`: the documents of a running server, each command one kind of call of its API."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer

from serve_app.cli.admin_client import AdminClient, Refused
from serve_app.cli.connection import DEFAULT_URL
from serve_app.cli.options import AdminKey, ApiKey, Json, ServerUrl, parse_pairs
from serve_app.cli.rag_files import batches, named_files
from serve_app.cli.terminal import bar, console
from serve_app.core.texts import is_unicode

app = typer.Typer(help="Documents: take in, search, list, delete; on a running server.", no_args_is_help=True)

Collection = Annotated[str | None, typer.Option(help="Default: `rag.collection` of the server's settings.")]
Owner = Annotated[
    str | None, typer.Option(help="For admin keys: name of the key whose documents are meant; default: everybody's.")
]
Where = Annotated[
    list[str] | None, typer.Option(help="NAME:VALUE of the metadata that a document must have; several times.")
]
_PAGE = 1000
_TURNS = 20
"""How often a full server is asked again for one batch."""
_WAIT_S = 5.0


@app.command()
def ingest(
    paths: Annotated[
        list[Path], typer.Argument(help="Files, and folders of text, Markdown, HTML and PDF files, sub-folders too.")
    ],
    collection: Collection = None,
    owner: Owner = None,
    metadata: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for all of the files; may be given several times.")
    ] = None,
    url: ServerUrl = DEFAULT_URL,
    key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Take files in. Each is known by its path from the folder that was named, so that sent again it replaces itself.

    A run that was broken off is simply run again: what is there already is told apart by its bytes, and not read again.
    """
    files = named_files(paths)
    fields = _fields(collection=collection, owner=owner)
    if metadata:
        fields["metadata"] = json.dumps(parse_pairs(metadata, "--metadata", "year=2024"))
    client = _client(url, key)
    sums: Counter[str] = Counter()
    errors: list[dict[str, str]] = []
    remarks: list[str] = []
    where: dict[str, Any] = {"collection": None, "version": None}
    try:
        with bar("Taking in", len(files), not as_json and sys.stderr.isatty()) as advance:
            for batch in batches(files):
                report = _sent(client, fields, batch)
                sums.update({name: report[name] for name in ("documents", "unchanged", "chunks")})
                errors += report["errors"]
                remarks += report["remarks"]
                where |= {name: report[name] for name in where if name in report}
                advance(len(batch))
    finally:  # what was taken in and refused until a connection broke is told as well
        if where["collection"] is not None or errors:
            _show_ingested(sums, errors, remarks, where, as_json)
    if errors:
        raise typer.Exit(1)


@app.command()
def search(
    question: Annotated[str, typer.Argument(help="What to look for.")],
    collection: Collection = None,
    owner: Owner = None,
    limit: Annotated[int | None, typer.Option(min=1, max=50, help="Most passages.")] = None,
    mode: Annotated[
        Literal["hybrid", "vector", "text"] | None, typer.Option(help="Sentence vectors, full text, or both.")
    ] = None,
    rerank: Annotated[
        bool | None, typer.Option("--rerank/--no-rerank", help="Put the best in order once more.", show_default=False)
    ] = None,
    where: Where = None,
    url: ServerUrl = DEFAULT_URL,
    key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show the passages that the model `rag` would be given."""
    wanted: dict[str, Any] = _fields(collection=collection, owner=owner, limit=limit, mode=mode)
    if rerank is not None:
        wanted["rerank"] = rerank
    if where:
        wanted["where"] = where
    if not is_unicode(question):
        raise typer.BadParameter("the question is not valid UTF-8; check the terminal's encoding")
    found = _client(url, key).get("/v1/rag/search", {"q": question, **wanted})
    if as_json:
        typer.echo(json.dumps(found))
        return
    _table(
        ("score", "likeness", "document", "characters", "text"),
        (
            (
                f"{one['score']:.3f}",
                "" if one["similarity"] is None else f"{one['similarity']:.2f}",
                one["document_id"],
                f"{one['start']}-{one['end']}",
                " ".join(one["text"].split())[:160],
            )
            for one in found["data"]
        ),
        "Nothing was found.",
    )
    for remark in found["remarks"]:
        typer.echo(remark, err=True)


@app.command("list")
def list_documents(
    collection: Annotated[str | None, typer.Argument(help="A collection, for its documents.")] = None,
    owner: Owner = None,
    url: ServerUrl = DEFAULT_URL,
    key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List the collections, or the documents of one."""
    client, wanted = _client(url, key), _fields(owner=owner)
    found = client.get("/v1/rag/collections", wanted)["data"] if collection is None else []
    if collection is not None:
        after: dict[str, str] = {}
        while True:
            page = client.get("/v1/rag/documents", {"collection": collection, "limit": _PAGE, **wanted, **after})
            found += page["data"]
            if not page["has_more"]:
                break
            after = {"after": found[-1]["id"]}
    if as_json:
        typer.echo(json.dumps(found))
        return
    _table(
        ("collection", "documents", "chunks")
        if collection is None
        else ("document", "title", "owner", "chunks", "taken in"),
        (
            (one["name"], str(one["documents"]), str(one["chunks"]))
            if collection is None
            else (one["id"], one["title"], one["owner"] or "everybody", str(one["chunks"]), one["ingested_at"])
            for one in found
        ),
        "There are no documents.",
    )


@app.command()
def delete(
    document: Annotated[str, typer.Argument(help="Id of the document, as `rag list` shows it.")],
    collection: Collection = None,
    owner: Owner = None,
    url: ServerUrl = DEFAULT_URL,
    key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Delete a document, its bytes included."""
    wanted = _fields(collection=collection, owner=owner)
    gone = _client(url, key).delete(f"/v1/rag/documents/{quote(document, safe='')}", wanted)
    typer.echo(json.dumps(gone) if as_json else f"{gone['id']} of collection {gone['collection']} is deleted.")


@app.command()
def drop(
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    url: ServerUrl = DEFAULT_URL,
    key: AdminKey = None,
    as_json: Json = False,
) -> None:
    """Delete a collection with everybody's documents. Needs an admin key."""
    gone = AdminClient(url, key).delete(f"/v1/rag/collections/{quote(collection, safe='')}")
    typer.echo(json.dumps(gone) if as_json else f"Collection {gone['name']} is deleted.")


def _client(url: str, key: str | None) -> AdminClient:
    return AdminClient(url, key, "Give a key with --key or HEADRACE_API_KEY.")


def _fields(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _sent(client: AdminClient, fields: Mapping[str, Any], batch: Mapping[str, Path]) -> dict[str, Any]:
    """What became of a batch. A full server is asked again; a file that is too large for it is one that it refused."""
    for turn in range(_TURNS):
        try:
            return client.send_documents("/v1/rag/documents", fields, batch)
        except Refused as error:
            if error.status == 413 and len(batch) == 1:
                (name,) = batch
                errors = [{"id": name, "message": f"{name}: {error} See rag.max_request_mb."}]
                return {"documents": 0, "unchanged": 0, "chunks": 0, "errors": errors, "remarks": []}
            if error.status != 429 or turn == _TURNS - 1:
                raise
        time.sleep(_WAIT_S)
    raise AssertionError("the last turn returns or raises")


def _show_ingested(
    sums: Counter[str],
    errors: list[dict[str, str]],
    remarks: list[str],
    where: Mapping[str, Any],
    as_json: bool,
) -> None:
    if as_json:
        typer.echo(json.dumps({**where, **sums, "errors": errors, "remarks": remarks}))
        return
    for remark in remarks:
        typer.echo(remark, err=True)
    for error in errors:
        typer.echo(f"Not taken in: {error['message']}", err=True)
    into = f"Collection {where['collection']}: " if where["collection"] else ""
    documents = "1 document" if sums["documents"] == 1 else f"{sums['documents']:,} documents"
    typer.echo(
        f"{into}{documents} taken in, {sums['unchanged']:,} of them unchanged; {sums['chunks']:,} passages written; "
        f"{len(errors):,} refused."
    )


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], nothing: str) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*map(Text, row))  # what stands in documents is no markup of ours
    if table.row_count:
        console().print(table)
    else:
        typer.echo(nothing)

"""/v1/rag: documents come and go, and are searched.

A user key writes and removes its own documents only, and sees its own and everybody's. An admin key writes everybody's,
or those of the key that it names. On a server without keys every document is everybody's.

All pages answer 404 where the graph has no retriever.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import JSONResponse

from serve_app.core import ReplicaLost, RequestError, Retrieval, RetrieverError, Search, SearchMode
from serve_app.gateway.auth import admin_key
from serve_app.gateway.documents.bodies import MAX_DOCUMENTS, MAX_OWNER, FormBody, IngestBody
from serve_app.gateway.documents.node import DocumentsNode
from serve_app.gateway.documents.reading import Sent, read_files, read_json
from serve_app.gateway.documents.shapes import collection_object, document_object, report_object, search_object
from serve_app.gateway.error_codes import ADMIN_CODES, BODY_CODES, KEY_CODES, ErrorBody, errors
from serve_app.gateway.errors import NotFound
from serve_app.gateway.forms import is_form
from serve_app.gateway.openapi import body_of, form_schema
from serve_app.gateway.schemas.documents import (
    CollectionList,
    DeletedCollection,
    DeletedDocument,
    DocumentList,
    IngestReport,
    RefusedIngest,
    SearchResult,
)
from serve_app.gateway.schemas.shown import ref, shown
from serve_app.gateway.services import Services, services_of
from serve_app.keys import NotPermitted

_MAX_PAGE = 1000

_NODE = ("not_found", "overloaded", "retriever_error")
_ANY = (*KEY_CODES, *_NODE, "not_permitted", "invalid_value")
"""Of all pages: the key may name an owner, and there may be no retriever."""
_IN_COLLECTION = errors(*_ANY, "collection_not_found")
_REMOVE = errors(*_ANY, "collection_not_found", "document_not_found")
_DROP = errors(*ADMIN_CODES, *_NODE, "collection_not_found")

_FORM = form_schema(FormBody, "The documents; a file's name, with its folders, is its id.", MAX_DOCUMENTS)

Owner = Annotated[
    str | None,
    Query(min_length=1, max_length=MAX_OWNER, description="For admin keys: the key whose documents are meant."),
]
Collection = Annotated[
    str | None, Query(min_length=1, max_length=64, description="Default: `rag.collection` of the settings.")
]


def _ingest_answers() -> dict[int | str, dict[str, Any]]:
    told = errors(*_ANY, *BODY_CODES, "invalid_form", "documents_refused", "collection_not_found")
    told[400]["content"]["application/json"]["schema"] = {"anyOf": [ref(RefusedIngest), ref(ErrorBody)]}
    landed = {
        200: "All are there.",
        207: "Those under `errors` are not there, the others are.",
    }
    return {status: {"model": IngestReport, "description": meaning} for status, meaning in landed.items()} | told


router = APIRouter(prefix="/v1/rag", tags=["documents"])


@router.post("/documents", response_model=None, openapi_extra=body_of(IngestBody, _FORM), responses=_ingest_answers())
async def ingest(request: Request) -> JSONResponse:
    """Take documents in, as JSON or as the files of a form.

    Answers when a search finds them. What is sent again under its id replaces what was there, all at once; the same
    bytes again change nothing.
    """
    services = services_of(request)
    node = _node(services)
    max_bytes = int(services.settings.rag.max_request_mb * 1_000_000)
    sent = await (read_files if is_form(request) else read_json)(request, max_bytes)
    owner = _owner(request, sent.owner)
    report = report_object(await node.ingest(sent.documents, _named(services, sent.collection), owner))
    if len(report["errors"]) == len(sent.documents):
        return _none_landed(report, sent)
    return JSONResponse(report, 207 if report["errors"] else 200)


@router.get("/documents", response_model=shown(DocumentList), responses=_IN_COLLECTION)
async def documents(
    request: Request,
    collection: Collection = None,
    owner: Owner = None,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE, description="Documents on a page.")] = 100,
    after: Annotated[str | None, Query(max_length=512, description="Id of a document: those behind it.")] = None,
) -> dict[str, Any]:
    """List the documents of a collection that the key may see, by their ids."""
    services = services_of(request)
    found = await _node(services).documents(_named(services, collection), _owner(request, owner), limit + 2, after)
    last = limit
    if len(found) > limit and found[limit].document_id == found[limit - 1].document_id:
        last += 1  # everybody's and the key's own, which `after` cannot tell apart
    page = [document_object(info) for info in found[:last]]
    return {"object": "list", "has_more": len(found) > last, "data": page}


@router.delete("/documents/{document_id:path}", response_model=shown(DeletedDocument), responses=_REMOVE)
async def remove(
    request: Request,
    document_id: Annotated[str, Path(description="Id of the document; it may hold slashes.")],
    collection: Collection = None,
    owner: Owner = None,
) -> dict[str, Any]:
    """Delete one document, its bytes included."""
    services = services_of(request)
    named = _named(services, collection)
    if not await _node(services).remove(named, document_id, _owner(request, owner)):
        raise NotFound(
            f"Collection {named!r} has no document {document_id[:80]!r} that this key may delete.",
            "document_id",
            "document_not_found",
        )
    return {"object": "rag.document", "id": document_id, "collection": named, "deleted": True}


@router.get("/search", response_model=shown(SearchResult), responses=_IN_COLLECTION)
async def search(
    request: Request,
    q: Annotated[str, Query(min_length=1, max_length=8192, description="The question.")],
    collection: Collection = None,
    owner: Owner = None,
    limit: Annotated[int | None, Query(ge=1, le=50, description="Most passages; default: `rag.limit`.")] = None,
    mode: Annotated[SearchMode | None, Query(description="Default: `rag.mode`.")] = None,
    rerank: Annotated[bool | None, Query(description="Default: `rag.rerank`.")] = None,
    where: Annotated[
        Sequence[str], Query(max_length=16, description="`name:value` of the metadata that a document must have.")
    ] = (),
) -> dict[str, Any]:
    """Find the passages that fit a question best.

    No model answers, so nothing is billed.
    """
    services = services_of(request)
    if not q.strip():
        raise RequestError("q is blank; ask something.", "q", "invalid_value")
    rag, named = services.settings.rag, _named(services, collection)
    search = Search(
        text=q,
        collection=named,
        key_id=_owner(request, owner),
        limit=rag.limit if limit is None else limit,
        mode=mode or rag.mode,
        where=_conditions(where),
        rerank=rag.rerank if rerank is None else rerank,
    )
    return search_object(named, await _retrieved(services, search))


@router.get("/collections", response_model=shown(CollectionList), responses=errors(*_ANY))
async def collections(request: Request, owner: Owner = None) -> dict[str, Any]:
    """List the collections in which the key may see something."""
    services = services_of(request)
    found = await _node(services).collections(_owner(request, owner))
    return {"object": "list", "data": [collection_object(info) for info in found]}


@router.delete(
    "/collections/{name}", dependencies=[Depends(admin_key)], response_model=shown(DeletedCollection), responses=_DROP
)
async def drop(request: Request, name: Annotated[str, Path(description="Of the collection.")]) -> dict[str, Any]:
    """Delete a collection with everybody's documents."""
    services = services_of(request)
    await _node(services).drop(name)
    return {"object": "rag.collection", "name": name, "deleted": True}


async def _retrieved(services: Services, search: Search) -> Retrieval:
    """A lost replica is asked for once more, as a pattern does it for a query."""
    for _ in range(2):
        with suppress(ReplicaLost):
            return await _node(services).retrieve(search)
    raise RetrieverError("The retriever lost the replica that was answering, twice; try again.")


def _node(services: Services) -> DocumentsNode:
    if services.documents is None:
        raise NotFound("This server has no retriever; set rag.enabled, or serve the graph `rag`.", None)
    return services.documents


def _named(services: Services, collection: str | None) -> str:
    return services.settings.rag.collection if collection is None else collection


def _owner(request: Request, owner: str | None) -> str | None:
    """Whose documents a request is about; None: everybody's. Raises NotPermitted, and RequestError without keys."""
    key = request.state.key
    if key is None:
        if owner is not None:
            raise RequestError(
                "This server has no keys, so that every document is everybody's; leave owner out.",
                "owner",
                "invalid_value",
            )
        return None
    if key.role == "admin":
        return owner
    if owner not in (None, key.key_id):
        raise NotPermitted("A user key has documents of its own only; leave owner out.", "owner", "not_permitted")
    return str(key.key_id)


def _conditions(where: Sequence[str]) -> dict[str, str]:
    """
    >>> _conditions(["year:2024", "url:http://a"])
    {'year': '2024', 'url': 'http://a'}
    """
    found: dict[str, str] = {}
    for condition in where:
        name, colon, value = condition.partition(":")
        if not (name and colon) or name in found:
            raise RequestError(
                f"where is {condition[:80]!r}; write name:value, each name once.", "where", "invalid_value"
            )
        found[name] = value
    return found


def _none_landed(report: dict[str, Any], sent: Sent) -> JSONResponse:
    """An error as OpenAI writes it, with the report beside it."""
    first, num_sent = report["errors"][0]["message"], len(sent.documents)
    message = first if num_sent == 1 else f"None of the {num_sent} documents was taken in; the first: {first}"
    error = {"message": message, "type": "invalid_request_error", "param": "documents", "code": "documents_refused"}
    return JSONResponse({"error": error, **report}, 400)

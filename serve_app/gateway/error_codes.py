"""Every code that an error may have, for /openapi.json and docs/http.md."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from serve_app.gateway.schemas.shown import Schema, ref


class ErrorDetail(Schema):
    """What went wrong."""

    message: str = Field(description="One sentence that says what to do.")
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"] = Field(
        description="`invalid_request_error` is a mistake of the caller, `rate_limit_error` comes with 429, "
        "`server_error` from 500 on."
    )
    param: str | None = Field(
        description="Path of the field at fault, such as `messages.0.role`; null where it is none."
    )
    code: str | None = Field(description="Says the same to programs; null where no code fits.")


class ErrorBody(Schema):
    """An error, as OpenAI writes it."""

    error: ErrorDetail = Field(description="What went wrong.")


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One code: the HTTP status that it comes with, and when."""

    status: int
    when: str

    @property
    def type(self) -> str:
        """OpenAI's `type` of the error."""
        if self.status == 429:
            return "rate_limit_error"
        return "server_error" if self.status >= 500 else "invalid_request_error"


ERROR_CODES = {
    "invalid_json": ErrorCode(400, "The body, or a field of a form that holds JSON, is not valid JSON."),
    "invalid_form": ErrorCode(400, "The form cannot be read."),
    "missing_required_parameter": ErrorCode(400, "A field that is required is missing."),
    "unknown_parameter": ErrorCode(400, "A field that there is not."),
    "unsupported_parameter": ErrorCode(400, "A field of OpenAI's API that asks for what this server does not do."),
    "invalid_type": ErrorCode(400, "A value of the wrong type."),
    "invalid_value": ErrorCode(400, "A value out of its bounds, or one that does not go with the others."),
    "context_length_exceeded": ErrorCode(400, "The prompt does not fit; the message names both lengths, in tokens."),
    "source_unusable": ErrorCode(400, "An adapter's files cannot be had from `source`."),
    "adapter_rejected": ErrorCode(400, "An adapter's files failed a check or the trial; the message says which."),
    "router_rejected": ErrorCode(400, "A router's files cannot be loaded by the router that runs."),
    "documents_refused": ErrorCode(400, "None of the documents could be taken in; the report stands beside the error."),
    "invalid_api_key": ErrorCode(401, "No key, or a wrong one."),
    "admin_key_needed": ErrorCode(403, "A user key where an admin key is needed."),
    "model_not_permitted": ErrorCode(403, "The key may not ask for this model."),
    "tier_not_permitted": ErrorCode(403, "The key may not ask for this service tier."),
    "not_permitted": ErrorCode(403, "The key may not do this, such as name another key's documents."),
    "not_found": ErrorCode(404, "No such page, or this graph has not the part that the page is about."),
    "model_not_found": ErrorCode(404, "No model, adapter or version has this name."),
    "query_not_found": ErrorCode(404, "The ledger has no such query, or none of this key."),
    "collection_not_found": ErrorCode(404, "There is no such collection of documents."),
    "document_not_found": ErrorCode(404, "The collection has no such document that the key may delete."),
    "method_not_allowed": ErrorCode(405, "Such as GET where POST is meant."),
    "conflict": ErrorCode(409, "The state forbids the change, or somebody changed it meanwhile."),
    "idempotency_key_reused": ErrorCode(409, "The `Idempotency-Key` came with another request before."),
    "body_too_large": ErrorCode(
        413, "More than `gateway.max_body_bytes`; with files, than what is allowed of them (`rag.max_request_mb`)."
    ),
    "overloaded": ErrorCode(429, "All places are taken, or a queue is full; `Retry-After` says when to come back."),
    "budget_exceeded": ErrorCode(
        429,
        "A budget is used up, or smaller than what this query may cost at worst (then ask for fewer tokens: waiting "
        "does not help); `Retry-After` says when its window ends.",
    ),
    "headers_too_large": ErrorCode(431, "More than `gateway.max_header_bytes`."),
    "internal_error": ErrorCode(500, "A fault of the server; its log has the details."),
    "engine_error": ErrorCode(503, "A node failed, and no other could answer; a retry may succeed."),
    "ledger_error": ErrorCode(
        503, "Accounts, stored keys or the registry cannot be read or written now; a retry may succeed."
    ),
    "retriever_error": ErrorCode(503, "Documents cannot be searched, taken in or removed now."),
    "artefact_store_error": ErrorCode(503, "The store of adapters' files is away; send the same request again."),
    "deadline_exceeded": ErrorCode(
        504, "The query was not answered in its time (`x-headrace-timeout-s`, `gateway.timeout_s`)."
    ),
    "publish_timeout": ErrorCode(504, "An adapter was not taken in within five minutes; send the same request again."),
}
"""In the order of their status."""

KEY_CODES = ("invalid_api_key", "ledger_error")
"""Of every page that needs a key: the second while the stored keys cannot be read."""
ADMIN_CODES = (*KEY_CODES, "admin_key_needed")
BODY_CODES = (
    "invalid_json",
    "missing_required_parameter",
    "unknown_parameter",
    "invalid_type",
    "invalid_value",
    "body_too_large",
)
"""Of every page that takes a JSON object."""


def errors(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a page that may answer with these codes, and with those that every page has.

    They point at `ErrorBody` and do not name it as their `model`: FastAPI would build a validator for each of them.
    """
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for code in sorted(set(codes), key=list(ERROR_CODES).index):
        by_status[ERROR_CODES[code].status].append(code)
    told: dict[int | str, dict[str, Any]] = {status: _response(by_status[status]) for status in by_status}
    return told | {"default": {"description": "Any other error, in the same shape.", "content": _content({})}}


def _response(codes: list[str]) -> dict[str, Any]:
    return {
        "description": " ".join(f"`{code}`: {ERROR_CODES[code].when}" for code in codes),
        "content": _content({"examples": {code: _example(code) for code in codes}}),
    }


def _content(more: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": ref(ErrorBody), **more}}


def _example(code: str) -> dict[str, Any]:
    known = ERROR_CODES[code]
    return {"value": {"error": {"message": known.when, "type": known.type, "param": None, "code": code}}}

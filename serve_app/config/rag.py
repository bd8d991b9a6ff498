"""Documents: where they are kept, how they are cut and searched, and what an answer does with what is found."""

from typing import Literal

from pydantic import Field

from serve_app.config.section import Section
from serve_app.core import SearchMode


class RagSettings(Section):
    """The model `rag`, which is there where the graph has a retriever."""

    enabled: bool = Field(False, description="Whether every graph has a retriever; the graph `rag` always has.")
    store: str = Field(
        "headrace-documents",
        description="Folder of the document store, or an object-store address such as s3://bucket/folder.",
    )
    encoder: str = Field("all-minilm-l6-v2", description="Catalogue name or directory of the sentence encoder.")
    collection: str = Field("default", description="Collection that the model `rag` searches.")
    routes: dict[str, str] = Field(
        default_factory=dict, description="Router label -> collection that is searched for its queries under `auto`."
    )
    mode: SearchMode = Field("hybrid", description="Search by sentence vectors and full text, or one of them.")
    rerank: bool = Field(False, description="Put the best passages in order once more, sentence by sentence.")
    limit: int = Field(6, ge=1, le=50, description="Most passages before a question.")
    passage_tokens: int = Field(
        768, ge=32, description="Most tokens of all passages together, further bounded by the model's context."
    )
    min_fit: float = Field(
        0.35, ge=0, le=1, description="Retrieval is weak where the best passage fits less than this; see `when_weak`."
    )
    when_weak: Literal["answer", "abstain", "escalate"] = Field(
        "answer",
        description="What a query gets whose retrieval is weak: an answer without passages, a sentence that says "
        "nothing was found, or the large model's answer.",
    )
    abstention: str = Field(
        "I found nothing about this in the documents.", min_length=1, description="The sentence of `abstain`."
    )
    when_fails: Literal["answer", "fail"] = Field(
        "answer", description="What a query gets whose retriever failed: an answer without passages, or the error."
    )
    timeout_s: float = Field(2.0, gt=0, description="Seconds that the retriever may take.")
    follow_s: float = Field(0.5, gt=0, description="Seconds after which a replica sees what another has changed.")
    chunk_tokens: int = Field(160, ge=16, le=1024, description="Most tokens of a chunk, by the small base's tokenizer.")
    overlap_tokens: int = Field(
        24, ge=0, description="Tokens that a chunk repeats of the one before, in whole sentences."
    )
    max_document_mb: float = Field(16, gt=0, description="Largest document, in MB of its file and of its text.")
    document_timeout_s: float = Field(
        60, gt=0, description="Seconds that one document may take to be read and cut; it is refused, the others go on."
    )
    max_request_mb: float = Field(
        20, gt=0, description="Largest request that brings documents, in MB; base64 takes a third more than the files."
    )
    max_chunks: int = Field(20_000, ge=1, description="Most chunks of one document.")

"""What may be sent to /v1/rag/documents, checked field by field; the first mistake names its field."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from serve_app.rag import Document

MAX_DOCUMENTS = 256
"""In one request."""
MAX_OWNER = 256
_DIGEST_CHARS = 16

Collection = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Owner = Annotated[str, StringConstraints(min_length=1, max_length=MAX_OWNER)]
DocumentId = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64)],
        Annotated[str, StringConstraints(max_length=256)],
    ],
    Field(max_length=32),
]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class DocumentBody(_Body):
    """One document: its text, or the bytes of its file."""

    id: DocumentId | None = Field(
        None, description="Name within the collection; sent again it replaces. Default: from the content."
    )
    title: str = Field("", max_length=512, description="Default: the document's own first heading, else its id.")
    text: str | None = Field(None, description="The document, as text or Markdown.")
    data: str | None = Field(None, description="The document's file in base64, in the place of `text`.")
    media_type: str = Field(
        "", max_length=128, description="Such as `text/markdown` or `application/pdf`; default: by name and content."
    )
    source: str = Field("", max_length=2048, description="Where it is from, such as its address; citations name it.")
    metadata: Metadata = Field(default_factory=dict, description="Words that a search may ask for with `where`.")

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        if (self.text is None) == (self.data is None):
            raise PydanticCustomError("content", "give one of text and data")
        return self

    def document(self) -> Document:
        """The same as a datatype of `rag`. Raises ValueError where `data` is not base64."""
        content = self._bytes()
        return Document(
            document_id=self.id or hashlib.sha256(content).hexdigest()[:_DIGEST_CHARS],
            data=content,
            title=self.title,
            source=self.source,
            media_type=self.media_type,
            metadata=self.metadata,
        )

    def _bytes(self) -> bytes:
        if self.text is not None:
            return self.text.encode()
        try:
            return base64.b64decode(self.data or "", validate=True)
        except binascii.Error as error:
            raise ValueError(str(error)) from error


class _Target(_Body):
    """Where documents go, and whose they are."""

    collection: Collection | None = Field(None, description="Default: `rag.collection` of the settings.")
    owner: Owner | None = Field(
        None, description="Name of the key whose documents these are; for admin keys. Default: everybody's."
    )


class IngestBody(_Target):
    """The body of POST /v1/rag/documents. With multipart/form-data the files take the place of `documents`."""

    documents: list[DocumentBody] = Field(min_length=1, max_length=MAX_DOCUMENTS, description="What to take in.")


class FormBody(_Target):
    """The fields of the form, beside its files."""

    metadata: Metadata = Field(default_factory=dict, description="Of all files; a JSON object.")

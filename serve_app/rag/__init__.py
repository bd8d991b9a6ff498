"""Documents to passages: read, cut into chunks, embed, search. Knows no queries, no answers and no HTTP.

    documents   the nouns: what comes in, and what the store tells of its contents
    store       DocumentStore: collections of documents, as callers see them
    ingest      documents into a collection, one bad one not stopping the others
    names       what a document's names and metadata may be
    readers/    bytes to a Reading
    reading     a document's plain text, with its headings, paragraphs, items and rows
    sentences   where a text may be cut
    chunks      a reading into chunks of a bounded number of tokens
    embedding   chunks and questions to vectors
    rows        chunks as rows of a table, and back
    filters     which rows a caller may see
    database    the tables, changed by one writer at a time
    collection  one table at one version: its searches and its changes
    purging     takes the bytes of deleted rows off the disk
    searching   two rankings, fused, and their best rows as passages
    fusion      cosines and BM25 as one score
    rerank      the best ones once more, by their nearest sentence
    fit         how well the best passage fits, in [0, 1]

`serve_app.rag.store` is imported by name: it needs the extra `rag`, the encoder and NumPy, and a gateway none of them.
"""

from serve_app.rag.documents import CollectionInfo, Document, DocumentInfo, IngestReport, OnProgress, Progress, Refusal

__all__ = ["CollectionInfo", "Document", "DocumentInfo", "IngestReport", "OnProgress", "Progress", "Refusal"]

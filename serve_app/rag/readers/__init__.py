"""Bytes to a Reading, one module per media type; what may be hostile is read by a child process within bounds.

    read      picks the reader, decodes text, sets the bounds
    text      paragraphs between empty lines
    markdown  headings, items, tables and code, by markdown-it
    html      the same of a page, by Beautiful Soup; no scripts, styles, navigation or hidden parts
    pdf       the text of the pages, by pypdf
    child     runs one of them under limits of time and memory

Whatever a document says is text and nothing else: no reader follows a link, loads a picture or runs a script.
"""

from serve_app.rag.readers.read import media_type_of, read

__all__ = ["media_type_of", "read"]

"""Documents over HTTP: taken in, listed, searched and removed, each key's apart from the others'."""

from serve_app.gateway.documents.node import DocumentsNode

__all__ = ["DocumentsNode"]

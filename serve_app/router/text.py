"""How much of a text the router looks at."""

HEAD_CHARS, TAIL_CHARS = 1000, 600
"""The encoder reads 40 tokens of the head and 24 of the tail; this is ample for both."""


def clip(text: str) -> str:
    """The head and the tail of a long text, so that a megabyte costs what a page costs; a short one as it is.

    >>> len(clip("a" * 1_000_000)), clip("short")
    (1601, 'short')
    """
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]} {text[-TAIL_CHARS:]}"

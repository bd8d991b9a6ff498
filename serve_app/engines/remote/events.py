"""Server-sent events, as far as OpenAI's streams use them: the data of each event, nothing else.

Own code rather than a library: httpx ends a line at U+2028 and its kin too, which JSON may hold, and no event may be
longer than a bound here, whatever a server sends.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

_LONGEST_EVENT = 4 * 1024 * 1024


class EventTooLong(ValueError):
    """A server sent an event without end."""


async def event_data(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """The data of each event in these pieces of a body; comments and other fields are skipped.

    Lines end with LF, CR or CRLF. An event that the body breaks off in is not given. Raises EventTooLong.
    """
    rest, data, size = b"", [], 0
    async for piece in pieces:
        rest += piece
        if len(rest) + size > _LONGEST_EVENT:
            raise EventTooLong
        lines, rest = _lines(rest)
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
                size += len(data[-1])
            elif not line and data:
                yield b"\n".join(data)
                data, size = [], 0


def _lines(text: bytes) -> tuple[list[bytes], bytes]:
    r"""The whole lines, and what follows them. A CR at the end may be half a CRLF, so it waits.

    >>> _lines(b"data: a\r\n\r\ndata: b\ndat")
    ([b'data: a', b'', b'data: b'], b'dat')
    >>> _lines(b"data: a\r")
    ([], b'data: a\r')
    """
    held = b""
    if text.endswith(b"\r"):
        text, held = text[:-1], b"\r"
    *lines, rest = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return lines, rest + held

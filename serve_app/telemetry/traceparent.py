"""The W3C header `traceparent`, as far as a service has to read it: version, trace, parent, flags."""

import re

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_LENGTH = 55
"""Characters of version 00. A later version may have more behind a hyphen, which is left out."""


def valid_traceparent(header: str | None) -> str | None:
    """The header as version 00, or None where it is no trace context: a client's slip never fails its query.

    >>> valid_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    >>> valid_traceparent("42-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-later")
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    >>> valid_traceparent("00-00000000000000000000000000000000-b7ad6b7169203331-01") is None
    True
    """
    if header is None or _FORM.fullmatch(header[:_LENGTH]) is None:
        return None
    version, trace_id, span_id, flags = header[:_LENGTH].split("-")
    rest = header[_LENGTH:]
    if rest and (version == "00" or not rest.startswith("-")):
        return None
    return traceparent(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & 1))


def traceparent(trace_id: int, span_id: int, sampled: bool) -> str:
    """Write the header.

    >>> traceparent(10, 11, sampled=False)
    '00-0000000000000000000000000000000a-000000000000000b-00'
    """
    return f"00-{trace_id:032x}-{span_id:016x}-{sampled:02x}"


def parts(header: str) -> tuple[int, int, bool]:
    """Trace, parent span and whether the trace is kept, of a header that `valid_traceparent` gave."""
    _, trace_id, span_id, flags = header.split("-")
    return int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & 1)

"""Which queries are run twice: a hash of the id decides, so that a re-run picks the same ones."""

from hashlib import blake2b


def chosen(query_id: str, share: float, purpose: str) -> bool:
    """Whether this query is in the sample of `share` (0 to 1) of all queries.

    Depends on nothing but the id: not on the answer, its confidence, or the load, so that the sample is a fair one. A
    larger share contains the smaller one's queries. Samples of different purposes are independent of each other.

    >>> chosen("q1", 0.0, "audit"), chosen("q1", 1.0, "audit")
    (False, True)
    """
    digest = blake2b(query_id.encode(), digest_size=8, person=purpose.encode()).digest()
    return int.from_bytes(digest, "big") < share * 2**64

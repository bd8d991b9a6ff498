"""Keys themselves: made at random, known by their digest only."""

import hashlib
import secrets

PREFIX = "hr-"
_NUM_BYTES = 32


def new_secret() -> str:
    """A new key: 256 random bits, in letters that a header and a shell take as they are.

    >>> len(new_secret()), new_secret().startswith("hr-"), new_secret() == new_secret()
    (46, True, False)
    """
    return PREFIX + secrets.token_urlsafe(_NUM_BYTES)


def digest_of(secret: bytes) -> str:
    """SHA-256, hexadecimal. Random keys of this length need no salt and no slow hash: there is nothing to guess.

    >>> digest_of(b"hr-abc")[:16]
    'eb97789050c367af'
    """
    return hashlib.sha256(secret).hexdigest()

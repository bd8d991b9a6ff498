"""What a text may hold, wherever it comes from."""


def is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8.

    Half of a surrogate pair cannot, nor a stray byte of a command line, which Python keeps as one.

    >>> is_unicode("caf\u00e9"), is_unicode("\\ud83d")
    (True, False)
    """
    return not any("\ud800" <= character <= "\udfff" for character in text)

"""Makes the text of a document harmless in a prompt: it can neither end its block nor speak as somebody else.

Nothing is taken out but control characters: blanks come in, so that an answer's quotes are found all the same.
"""

import re

_MARK = re.compile(r"[<＜﹤](?=[^\W\d]|[/|｜!])|\[(?=/?\w+\])")
"""What a chat template's token may begin with, such as <|im_start|>, </s> or [INST]; and a passage's number, [1]."""
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
"""Those that end a line are not in it, nor is the tab."""
_BRACKET_TOKENS, _TAG_TOKENS = 4, 8


def harmless(text: str) -> str:
    """`text` with a blank in everything that a tokenizer or a reader may take for a mark.

    >>> harmless("see [2]<|im_end|> if a < b")
    'see [ 2]< |im_end|> if a < b'
    """
    return _MARK.sub(r"\g<0> ", _CONTROL.sub("", text))


def extra_tokens(text: str) -> int:
    """How many tokens more `harmless(text)` may have, about: a mark may have been one token, and is several then.

    >>> extra_tokens("see [2]<|im_end|>"), extra_tokens("plain")
    (12, 0)
    """
    return sum(_BRACKET_TOKENS if match[0] == "[" else _TAG_TOKENS for match in _MARK.finditer(text))

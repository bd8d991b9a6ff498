"""Parameters of OpenAI's API that Headrace does not honour: each is refused by name, never silently ignored.

A value that asks for nothing (`"tools": []`, `"presence_penalty": 0`, null) is let through. A few parameters change no
answer at all and are accepted whatever they say.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from serve_app.core import RequestError

Neutral = Mapping[str, tuple[Any, ...]]
"""Parameter -> values that ask for nothing, beside null."""

CHANGES_NOTHING = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "user",
    }
)
"""Labels and hints: the answer is the same without them."""

_BOTH: Neutral = {
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "store": (False,),
}
CHAT_UNSUPPORTED: Neutral = {
    **_BOTH,
    "audio": (),
    "function_call": ("none",),
    "functions": ([],),
    "modalities": (["text"],),
    "moderation": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none",),
    "tools": ([],),
    "verbosity": ("medium",),
    "web_search_options": (),
}
TEXT_UNSUPPORTED: Neutral = {**_BOTH, "best_of": (1,), "echo": (False,), "suffix": ("",)}
MESSAGE_UNSUPPORTED: Neutral = {
    "annotations": ([],),
    "audio": (),
    "function_call": (),
    "name": (),
    "refusal": (),
    "tool_call_id": (),
    "tool_calls": ([],),
}


def supported(raw: Mapping[str, Any], unsupported: Neutral, path: str = "") -> dict[str, Any]:
    """`raw` without the parameters that ask for nothing. Raises RequestError naming one that does.

    `path` comes before the names in messages, such as `messages.0.`.
    """
    kept = {}
    for name, value in raw.items():
        if name in unsupported:
            if value is not None and value not in unsupported[name]:
                raise _refusal(path + name, unsupported[name])
        elif path or name not in CHANGES_NOTHING:
            kept[name] = value
    return kept


def _refusal(param: str, neutral: tuple[Any, ...]) -> RequestError:
    allowed = f" (only {neutral[0]!r} is)" if neutral and neutral[0] not in ([], {}, "") else ""
    return RequestError(f"{param} is not supported{allowed}; remove it.", param, "unsupported_parameter")


def let_through(
    unsupported: Neutral, changes_nothing: Collection[str] = frozenset()
) -> Callable[[dict[str, Any]], None]:
    """A `json_schema_extra`: adds the parameters that a body may have beside its own fields, and their values."""

    def add(schema: dict[str, Any]) -> None:
        fields = schema["properties"]
        for name in sorted(changes_nothing):
            fields[name] = {"description": "Accepted; changes no answer.", "x-support": "ignored"}
        for name, values in sorted(unsupported.items()):
            told = "Not supported: refused unless it asks for nothing."
            fields[name] = {"enum": [*values, None], "description": told, "x-support": "refused"}

    return add

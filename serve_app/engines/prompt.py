"""From a call to token ids: chat template, the adapter's system prompt, length limits, end tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from serve_app.adapters import AdapterManifest, AdapterSpec
from serve_app.core import AdapterError, Call, EngineError, Message, PromptTooLong, RequestError

_END_MARKS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<end_of_turn>")
"""Tokens that end a turn or a text; some models' configurations name only one of theirs."""
_SHRINK = 4
"""A normaliser may join up to this many characters into one before the tokens are cut."""


class PromptEncoder:
    """The tokenizer of one model folder. Safe for concurrent use from several threads: nothing in it changes."""

    def __init__(self, path: Path) -> None:
        try:
            self._template = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
            self.tokenizer: Tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        except (OSError, ValueError) as error:
            raise EngineError(f"the tokenizer in {path} cannot be loaded: {error}") from error
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.end_ids = _end_ids(path, self.tokenizer, self._template.eos_token_id)
        self._longest_token = max(len(token) for token in self.tokenizer.get_vocab())

    def check(self, adapter: AdapterSpec) -> None:
        """Raise AdapterError if the adapter brings a chat template that cannot be used."""
        try:
            self._apply([Message("user", "hello")], adapter.manifest.chat_template)
        except TemplateError as error:
            raise AdapterError(f"adapter {adapter.name}: the manifest's chat_template is wrong: {error}") from error

    def encode(self, call: Call, manifest: AdapterManifest | None, context: int) -> tuple[int, ...]:
        """Token ids of the call's prompt, at least one and fewer than `context`; `manifest` is of the call's adapter.

        Takes up to a second of processor time for a megabyte, without holding the interpreter: call it in a thread.
        Raises PromptTooLong or RequestError.
        """
        text, param = self._render(call, manifest)
        at_least = len(text) // (self._longest_token * _SHRINK)
        if at_least >= context:
            raise _too_long(f"at least {at_least}", context, param)
        # `encode` would hold the interpreter lock all the while, `encode_batch_fast` gives it up.
        encoding = self.tokenizer.encode_batch_fast([text], add_special_tokens=call.prompt is not None)[0]
        if len(encoding.ids) >= context:
            raise _too_long(str(len(encoding.ids)), context, param)
        if not encoding.ids:
            raise RequestError(f"{param} is empty; send some text to continue", param)
        return tuple(encoding.ids)

    def check_known(self, prompt_ids: Sequence[int], vocab: int) -> None:
        """Raise RequestError for a token that the model has no embedding for: in a step, it would fail every row."""
        highest = max(prompt_ids)
        if highest >= vocab:
            text = self.tokenizer.id_to_token(highest)
            raise RequestError(f"this model was not made for the token {text!r}; leave it out of the prompt")

    def _render(self, call: Call, manifest: AdapterManifest | None) -> tuple[str, str]:
        """The whole prompt as text, and the request field it came from."""
        if call.prompt is not None:
            return call.prompt, "prompt"
        if not call.messages:
            raise RequestError("messages is empty; send at least one message", "messages")
        messages = call.messages
        if manifest and manifest.system_prompt and all(message.role != "system" for message in messages):
            messages = (Message("system", manifest.system_prompt), *messages)
        try:
            return self._apply(messages, manifest.chat_template if manifest else None), "messages"
        except TemplateError as error:
            raise RequestError(f"messages do not fit the model's chat template: {error}", "messages") from error

    def _apply(self, messages: Sequence[Message], template: str | None) -> str:
        """The conversation in `template`, None for the model's own, up to where the answer begins."""
        template = template or self._template.chat_template
        if template is None:
            raise RequestError("this model has no chat template; send `prompt` in place of messages", "messages")
        turns = [{"role": message.role, "content": message.content} for message in messages]
        text: str = self._template.apply_chat_template(
            turns, chat_template=template, tokenize=False, add_generation_prompt=True
        )
        return text


def _too_long(length: str, context: int, param: str) -> PromptTooLong:
    return PromptTooLong(
        f"the prompt has {length} tokens and the context holds {context}, of which one must stay free; shorten {param}",
        param,
        "context_length_exceeded",
    )


def _end_ids(path: Path, tokenizer: Tokenizer, eos_id: int | None) -> frozenset[int]:
    """Every token that ends an answer: of generation_config.json, of the tokenizer, and the usual marks it knows."""
    file = path / "generation_config.json"
    config: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    configured = config.get("eos_token_id")
    ids = set(configured) if isinstance(configured, list) else {configured}
    ids |= {eos_id, *(tokenizer.token_to_id(mark) for mark in _END_MARKS)}
    return frozenset(token_id for token_id in ids if token_id is not None)

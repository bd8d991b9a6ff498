"""An engine is chosen by name, and a wrong name says what there is."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

import pytest

from serve_app.config import load
from serve_app.config.nodes import NodeSettings
from serve_app.core import ConfigError
from serve_app.engine import options
from serve_app.engines import backends, local
from serve_app.engines.backends import backend, fake

OTHER = {
    "max_rows": 3, "max_context_tokens": 99, "max_waiting": 5, "dtype": "float16", "linear": "int8", "kernels": "plain",
    "device": "cuda:1", "max_tokens": 7, "temperature": 0.5, "top_p": 0.25, "gate_cores": 2, "step_tokens": 33,
    "prefix_slots": 1, "cache_mb": 11, "adapter_slots": 4, "max_adapter_rank": 9, "draft_tokens": 6,
}  # fmt: skip
"""A value that is not the default for every key of a node that an engine knows."""


async def test_fake_serves_the_configured_adapters() -> None:
    settings = load("demo")
    info = await (await backend("fake")(settings.specialists, settings.adapters, 1)).info()
    assert set(info.adapters) == {"legal", "medical", "code"}
    assert info.model == settings.specialists.model


async def test_openai_serves_the_configured_adapters_by_the_names_that_a_server_has_for_them() -> None:
    server = {"base_url": "http://127.0.0.1:9", "model": "m", "adapters": {"legal": "m-legal"}}
    node = NodeSettings.model_validate({"model": "far", "engine": "openai", "remote": {"servers": [server]}})
    info = await (await backend("openai")(node, {"legal": load("demo").adapters["legal"]}, 1)).info()
    assert (info.model, dict(info.adapters)) == ("far", {"legal": "m-legal"})


def test_an_import_path_is_anybody_s_own() -> None:
    assert backend("serve_app.engines.backends:fake") is fake


@pytest.mark.parametrize("name", ["lokal", "no.such.module:engine", "serve_app.core:engine"])
def test_an_unknown_engine_is_refused(name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"engine .* is unknown .*local, vllm, fake, openai or package.module:function"
    ):
        backend(name)


class Recorder:
    """Stands where LocalEngine stands: keeps the options it was given, needs no model."""

    def __init__(self, model: object, adapters: object, options: options.EngineOptions) -> None:
        self.options = options

    async def start(self) -> None:
        """Nothing to load."""


async def started(monkeypatch: pytest.MonkeyPatch, **keys: Any) -> options.EngineOptions:
    monkeypatch.setattr(local, "LocalEngine", Recorder)
    monkeypatch.setattr(backends, "_read", lambda name, adapters: (None, []))
    none: Mapping[str, Any] = {}
    engine: Any = await backend("local")(NodeSettings(model="any", **keys), none, 5)
    assert isinstance(engine, Recorder)
    return engine.options


async def test_every_key_of_a_node_reaches_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OTHER.keys() == {field.name for field in fields(options.EngineOptions)} - {"threads"}
    assert await started(monkeypatch, **OTHER) == options.EngineOptions(threads=5, **OTHER)


async def test_a_node_and_an_engine_have_the_same_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await started(monkeypatch) == options.EngineOptions(threads=5)


@pytest.mark.parametrize(
    ("key", "words"), [("dtype", options.DTYPES), ("linear", options.LINEARS), ("kernels", options.KERNELS)]
)
def test_a_node_takes_the_words_an_engine_takes(key: str, words: tuple[str, ...]) -> None:
    assert get_args(NodeSettings.model_fields[key].annotation) == words

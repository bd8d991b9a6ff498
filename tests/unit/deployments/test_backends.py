"""An engine is chosen by name, and a wrong name says what there is."""

import pytest

from serve_app.config import load
from serve_app.core import ConfigError
from serve_app.deployments.backends import backend, fake


async def test_fake_serves_the_configured_adapters() -> None:
    settings = load("demo")
    info = await (await backend("fake")(settings.specialists, settings.adapters, 1)).info()
    assert set(info.adapters) == {"legal", "medical", "code"}
    assert info.model == settings.specialists.model


def test_an_import_path_is_anybody_s_own() -> None:
    assert backend("serve_app.deployments.backends:fake") is fake


@pytest.mark.parametrize("name", ["lokal", "no.such.module:engine", "serve_app.core:engine"])
def test_an_unknown_engine_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"engine .* is unknown .*local, fake or package.module:function"):
        backend(name)

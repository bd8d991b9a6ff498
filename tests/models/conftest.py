"""Real catalogue models, pulled on first use."""

from collections.abc import Callable

import pytest

from serve_app.catalogue import ModelFiles, pull


@pytest.fixture(scope="session")
def model_files() -> Callable[[str], ModelFiles]:
    """`model_files(alias)`: the files of a catalogue model, pulled if they are not here yet."""
    return pull


@pytest.fixture(scope="session")
def model_dir(model_files: Callable[[str], ModelFiles]) -> Callable[[str], object]:
    """`model_dir(alias)`: the folder of a catalogue model."""
    return lambda alias: model_files(alias).path

"""deploy/render.py as a module: the folder is no package."""

import importlib.util
from pathlib import Path
from types import ModuleType


def rendering(repo: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("render", repo / "deploy" / "render.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

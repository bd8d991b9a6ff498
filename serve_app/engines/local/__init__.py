"""LocalEngine: a base model and its adapters in this process, behind the Engine protocol of core.

Adds to serve_app.engine what it does not know: text, by the parts that engines share. `stream.py` carries deltas from
the engine's thread to the caller's event loop.
"""

from serve_app.engine.options import EngineOptions
from serve_app.engines.local.engine import LocalEngine

__all__ = ["EngineOptions", "LocalEngine"]

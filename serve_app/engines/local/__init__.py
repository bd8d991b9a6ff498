"""LocalEngine: a base model and its adapters in this process, behind the Engine protocol of core.

Adds to serve_app.engine what it does not know: text. `prompt.py` turns conversations into token ids, `text.py` token
ids into text up to a stop string, `stream.py` carries deltas from the engine's thread to the caller's event loop.
"""

from serve_app.engine.options import EngineOptions
from serve_app.engines.local.engine import LocalEngine

__all__ = ["EngineOptions", "LocalEngine"]

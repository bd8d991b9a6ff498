"""`engine: vllm`: a core.Engine over vLLM's own, with an adapter per row. The only package that imports vLLM.

vLLM pins its own torch and transformers, so a replica that runs it has an environment of its own: docs/vllm.md.

engine.py      VllmEngine: one model and its adapters; places, deadlines, adapters, info
arguments.py   what a node's settings are in vLLM's words, and the environment variables it reads
answer.py      vLLM's outputs as Deltas
shares.py      which part of the engine's time a call is charged with
lifeline.py    vLLM's processes end with the replica, even one that was killed
"""

from serve_app.engines.vllm.engine import VllmEngine

__all__ = ["VllmEngine"]

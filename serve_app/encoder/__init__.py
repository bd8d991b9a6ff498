"""The sentence encoder: text to a vector, in ONNX Runtime, with no torch.

Knows texts, tokens and vectors; knows no labels, no routes and no documents.
"""

from serve_app.encoder.encoder import FP32_FILE, Encoder
from serve_app.encoder.tokens import HEAD_TOKENS, TAIL_TOKENS

__all__ = ["FP32_FILE", "HEAD_TOKENS", "TAIL_TOKENS", "Encoder"]

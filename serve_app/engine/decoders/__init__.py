"""From a step to logits, in two ways of one interface.

protocol.py  Decoder, and what an engine must know of a model's shape
fused.py     Llama, Qwen2 and Mistral: the layers' products fused and packed, all between them in Kernels
generic.py   any other decoder of transformers that takes its attention from the attention interface
choose.py    the first that fits
"""

from serve_app.engine.decoders.choose import make_decoder
from serve_app.engine.decoders.protocol import Decoder

__all__ = ["Decoder", "make_decoder"]

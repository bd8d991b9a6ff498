"""Which decoder runs a model, and where adapters may act in it."""

from __future__ import annotations

from typing import Any

from serve_app.engine.bank import SiteShape
from serve_app.engine.decoders import fused, generic
from serve_app.engine.decoders.protocol import Decoder, Parts


def site_shapes(model: Any) -> list[SiteShape]:
    """Of the decoder that `make_decoder` chooses."""
    return fused.site_shapes(model) if fused.fits(model) else generic.site_shapes(model)


def make_decoder(model: Any, parts: Parts) -> Decoder:
    """The fastest decoder that computes the model as transformers does. The model is used up by it."""
    return fused.FusedDecoder(model, parts) if fused.fits(model) else generic.GenericDecoder(model, parts)

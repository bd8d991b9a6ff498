"""Sentence vectors of a benchmark, kept in the user's cache folder: 14,000 prompts take minutes to encode."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
from rich.progress import track

from bench.routing.outcomes import Outcomes
from serve_app.catalogue import resolve
from serve_app.catalogue.cache import cache_dir
from serve_app.encoder import Encoder
from serve_app.router.text import clip
from serve_app.training.gain import Views, views

ENCODER = "all-minilm-l6-v2"


@cache
def encoder() -> Encoder:
    """The router's encoder, one thread."""
    return Encoder(resolve(ENCODER).path)


def known(outcomes: Outcomes) -> bool:
    """Whether the vectors are there already."""
    return _file(outcomes).is_file()


def read(outcomes: Outcomes) -> Views:
    """The prompts as the router reads them, encoded now where they have not been before."""
    texts = [clip(text) for text in outcomes.texts]
    path = _file(outcomes)
    if not path.is_file():
        made = [encoder().encode([text])[0] for text in track(texts, f"Encoding {outcomes.name}")]
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, np.stack(made).astype(np.float16))
        partial.replace(path)
    return views(texts, np.load(path).astype(np.float32))


def _file(outcomes: Outcomes) -> Path:
    return cache_dir() / "bench" / f"routing-{encoder().digest[:16]}-{outcomes.digest[:16]}.npy"

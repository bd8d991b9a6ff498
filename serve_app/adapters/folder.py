"""One adapter folder, read whole: configuration, weights, manifest and the digest over the three."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from serve_app.adapters import manifest as manifests
from serve_app.adapters import peft_config, tensors
from serve_app.adapters.spec import AdapterSpec, check_name
from serve_app.adapters.tensors import TensorEntry
from serve_app.config.nodes import AdapterSource
from serve_app.core import AdapterError

SERVED_MODULES = ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")
"""The linear layers of a decoder block that the engine puts LoRA on."""

_KEY = re.compile(r"base_model\.model\.(?P<module>[A-Za-z0-9_.]+)\.lora_(?P<matrix>[AB])(?:\.default)?\.weight")
_SHIPPED = Path(__file__).parent / "shipped"
_PICKLES = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth")
_DIGESTED = (peft_config.FILE_NAME, tensors.FILE_NAME, manifests.FILE_NAME)
_VERSION_DIGITS = 12


def load(path: Path, name: str | None = None) -> AdapterSpec:
    """Read an adapter folder and check everything that needs no base; `name` defaults to the folder's.

    Raises AdapterError, one sentence, when it is no plain LoRA adapter in safetensors with finite weights.
    """
    path = Path(path)
    if not path.is_dir():
        raise AdapterError(f"{path} is no folder; give the folder that holds {peft_config.FILE_NAME}.")
    chosen = check_name(name if name is not None else path.resolve().name.lower())
    config = peft_config.read_peft_config(path)
    manifest = manifests.read_manifest(path)
    weights = _weights_file(path)
    entries = tensors.read_entries(weights)
    modules = paired_modules(weights, entries, config.rank)
    tensors.refuse_non_finite(weights, entries)
    return AdapterSpec(
        name=chosen,
        version=version_of(content_digest(path)),
        path=path,
        rank=config.rank,
        alpha=config.alpha,
        use_rslora=config.use_rslora,
        target_modules=tuple(sorted({module.rpartition(".")[2] for module in modules})),
        base_model=config.base_model,
        base_digest=manifest.base_digest,
        verified=False,
        manifest=manifest,
    )


def content_digest(path: Path) -> str:
    """sha256, hexadecimal, over the names and bytes of the three files that decide what the adapter answers."""
    hashes = {}
    for name in _DIGESTED:
        if (path / name).exists():
            with (path / name).open("rb") as opened:
                hashes[name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return digest_of(hashes)


def version_of(digest: str) -> str:
    """What a version is called: the beginning of its content digest."""
    return digest[:_VERSION_DIGITS]


def digest_of(hashes: Mapping[str, str]) -> str:
    """The content digest of an adapter whose files, by name, have these sha256; other files do not count.

    >>> digest_of({"README.md": "f" * 64}) == digest_of({})
    True
    """
    lines = "".join(f"{name} {hashes[name]}\n" for name in _DIGESTED if name in hashes)
    return hashlib.sha256(lines.encode()).hexdigest()


def paired_modules(weights: Path, entries: Mapping[str, TensorEntry], rank: int) -> dict[str, tuple[int, int]]:
    """Adapted modules by full name, with their (in, out) widths; A is (rank, in), B is (out, rank).

    Raises AdapterError when a tensor is no LoRA matrix of a served module, lacks its partner or has another rank.
    """
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, entry in entries.items():
        module, matrix = _parsed(key, weights)
        pair = shapes.setdefault(module, {})
        if matrix in pair:
            raise AdapterError(
                f"{weights}: {module} has two lora_{matrix}; save the adapter again, one adapter a file."
            )
        pair[matrix] = entry.shape
    widths: dict[str, tuple[int, int]] = {}
    for module, pair in shapes.items():
        if set(pair) != {"A", "B"}:
            raise AdapterError(f"{weights}: {module} has only one of lora_A and lora_B; save the adapter again.")
        if len(pair["A"]) != 2 or len(pair["B"]) != 2 or pair["A"][0] != rank or pair["B"][1] != rank:
            raise AdapterError(
                f"{weights}: {module} has shapes {pair['A']} and {pair['B']}, which do not fit rank {rank} of "
                f"{peft_config.FILE_NAME}; save both files from one run."
            )
        widths[module] = (pair["A"][1], pair["B"][0])
    return widths


def shipped_names() -> tuple[str, ...]:
    """Names of the adapters that come with this package, sorted."""
    return tuple(sorted(file.parent.name for file in _SHIPPED.glob(f"*/{peft_config.FILE_NAME}")))


def shipped(name: str) -> Path:
    """Folder of an adapter that comes with this package. Raises AdapterError for an unknown name."""
    if name not in shipped_names():
        raise AdapterError(f"no adapter {name!r} is shipped; there are: {', '.join(shipped_names()) or 'none'}.")
    return _SHIPPED / name


def source_folder(source: AdapterSource) -> Path:
    """Where an adapter of the settings lies on this node. Raises AdapterError for one that is not shipped."""
    kind, separator, name = source.path.partition(":")
    return shipped(name) if kind == "shipped" and separator else Path(source.path).expanduser()


def _weights_file(path: Path) -> Path:
    weights = path / tensors.FILE_NAME
    if weights.is_file():
        return weights
    for name in _PICKLES:
        if (path / name).exists():
            raise AdapterError(
                f"{path / name} is a pickle, which can run code and is never read; save the adapter as safetensors."
            )
    raise AdapterError(f"{weights} is missing; save the adapter with safetensors (PEFT's default).")


def _parsed(key: str, weights: Path) -> tuple[str, str]:
    """Module name and matrix of a tensor's key."""
    if "lora_embedding" in key or "embed_tokens" in key or "lm_head" in key:
        raise AdapterError(f"{weights}: {key} adapts an embedding, which is not served; train the linear layers only.")
    found = _KEY.fullmatch(key)
    if found is None:
        raise AdapterError(f"{weights}: {key} is no LoRA matrix as PEFT names it; save the adapter with PEFT.")
    last = found["module"].rpartition(".")[2]
    if last not in SERVED_MODULES:
        raise AdapterError(f"{weights}: {last} is adapted, but only {', '.join(SERVED_MODULES)} can be.")
    return found["module"], found["matrix"]

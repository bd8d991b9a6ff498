"""The base model for training: loaded frozen, with LoRA matrices around it, in the faster dtype."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from serve_app.adapters import AdapterSpec
from serve_app.adapters.tensors import FILE_NAME as WEIGHTS
from serve_app.training.decoder import Decoder, can_decode
from serve_app.training.options import TrainingError, TrainOptions

_PROBE_ROWS, _PROBE_LENGTH = 8, 64


@dataclass(slots=True)
class Trainee:
    """A base with one LoRA adapter on it; only the adapter's matrices take gradients."""

    model: Any
    """The PEFT model. Its adapter starts as the identity, so that before the first step it answers as the base."""
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    decoder: Decoder | None = None
    """Packed batches on fused layers; None: this base's layers are not known, or packing was not wanted."""

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The adapter's matrices by name."""
        return {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    def refresh(self) -> None:
        """To be called after each change of the adapter's matrices."""
        if self.decoder is not None:
            self.decoder.refresh()

    def hidden_states(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Last hidden states of right-padded rows, (rows, length) to (rows, length, width).

        No mask is needed: attention is causal and padding comes after the tokens.
        """
        states: torch.Tensor = self.model.get_base_model().base_model(input_ids=token_ids, use_cache=False)[0]
        return states

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """(num_positions, width) to float32 (num_positions, vocabulary)."""
        logits: torch.Tensor = self.model.get_output_embeddings()(states)
        return logits.float()


def load_trainee(base: Path, options: TrainOptions, start: AdapterSpec | None = None) -> Trainee:
    """Load base and tokenizer from a folder and wrap them, with fresh matrices or with those of `start`.

    Raises TrainingError when a target module is not there, or `start` has another rank, alpha or target modules.
    """
    device = torch.device(_device(options.device))
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    if tokenizer.chat_template is None:
        raise TrainingError(f"the model in {base} has no chat template; take an instruct model as the base.")
    model = AutoModelForCausalLM.from_pretrained(base, local_files_only=True, dtype=torch.float32)
    torch.manual_seed(options.seed)
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,  # type: ignore[arg-type, unused-ignore]
        target_modules=list(options.target_modules),
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():  # PEFT reads a property that transformers 5 has renamed
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            adapted = get_peft_model(model, config, autocast_adapter_dtype=False).to(device)
    except ValueError as error:
        wanted = ", ".join(options.target_modules)
        raise TrainingError(f"the base has not all of the target modules {wanted}: {error}") from error
    if start is not None:
        _take_over(adapted, start, options)
    trainee = Trainee(adapted, tokenizer, device, torch.float32)
    trainee.dtype = _faster_dtype(trainee) if options.dtype == "auto" else getattr(torch, options.dtype)
    trainee.model.to(trainee.dtype)
    if options.packing and can_decode(trainee.model):
        trainee.decoder = Decoder(trainee.model)
    return trainee


def _take_over(adapted: Any, start: AdapterSpec, options: TrainOptions) -> None:
    """The matrices of an adapter in place of the fresh ones."""
    has = (start.rank, start.alpha, start.target_modules)
    if has != (options.rank, options.alpha, tuple(sorted(options.target_modules))) or start.use_rslora:
        raise TrainingError(
            f"training cannot go on from {start.path}: it has rank {start.rank}, alpha {start.alpha:g} and other "
            "options than the run; give the run the same rank, alpha and target modules, or start afresh."
        )
    found = set_peft_model_state_dict(adapted, load_file(start.path / WEIGHTS))
    if found.unexpected_keys:
        raise TrainingError(f"{start.path} holds matrices that the base has no place for: {found.unexpected_keys[0]}.")


def _device(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def _faster_dtype(trainee: Trainee) -> torch.dtype:
    """Time one forward and backward pass in each; which wins depends on the processor.

    float32 comes first: the adapter has made no update yet, and one that training goes on from is stored in bfloat16,
    so rounding it afterwards loses nothing.
    """
    seconds: dict[torch.dtype, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        trainee.model.to(dtype)
        _probe_step(trainee)  # the first pass pays for thread pools and memory
        seconds[dtype] = _probe_step(trainee)
    trainee.model.zero_grad(set_to_none=True)
    return min(seconds, key=lambda dtype: seconds[dtype])


def _probe_step(trainee: Trainee) -> float:
    token_ids = torch.arange(_PROBE_ROWS * _PROBE_LENGTH, device=trainee.device).reshape(_PROBE_ROWS, _PROBE_LENGTH)
    started = time.perf_counter()
    states = trainee.hidden_states(token_ids)
    trainee.logits(states[:, -16:].flatten(0, 1)).logsumexp(-1).sum().backward()
    if trainee.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started

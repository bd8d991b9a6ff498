"""PEFT folders of random weights on all linear layers, in bfloat16: adapters to measure with, never trained."""

from collections.abc import Iterator
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM


def make(model_path: Path, folder: Path, names: list[str], rank: int, std: float = 0.02) -> Iterator[Path]:
    """A folder for each name; the same names, rank and `std` of the weights give the same weights."""
    base = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.bfloat16)
    model = get_peft_model(base, LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear"))
    model = model.to(torch.bfloat16)
    model.peft_config["default"].base_model_name_or_path = model_path.name
    for index, name in enumerate(names):
        torch.manual_seed(index)
        for key, parameter in model.named_parameters():
            if "lora_" in key:
                torch.nn.init.normal_(parameter, std=std)
        model.save_pretrained(folder / name)
        yield folder / name

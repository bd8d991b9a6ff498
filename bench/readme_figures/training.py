"""Training: speed against a plain PEFT loop."""

from typing import Any

_TITLES = {
    "ours": "`headrace adapters train`",
    "padded": "the same, `--no-packing`",
    "peft": "plain PEFT loop, bfloat16",
    "peft_float32": "plain PEFT loop, adapter in float32",
}


def training(found: dict[str, Any], circumstances: str) -> str:
    """Tokens a second, the loss at equal tokens and memory, by contender."""
    rates, losses, memory = found["tokens_per_s"], found["held_out_loss"], found["memory_mib"]
    rows = "\n".join(
        f"| {title} | {rates[name]:.0f} | {found['ratio_to'].get(name, '')} | {losses[name]:.3f} "
        f"| {memory[name]['peak']} |"
        for name, title in _TITLES.items()
    )
    return (
        f"**Training** a LoRA of rank 16 on {found['base']}, {found['rows']}, {found['machine']['threads']} threads, "
        f"all taking turns; after {found['tokens']} tokens\neach. Held-out loss before: "
        f"{found['held_out_loss_before']:.3f}. {found['processed_share']:.0%} of the tokens are processed, the others "
        "are shared beginnings.\n\n"
        f"| | tokens/s | ours is times | held-out loss | peak MiB |\n|---|---|---|---|---|\n{rows}\n\n{circumstances}."
    )

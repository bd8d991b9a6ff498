"""The engine: decode speed beside its peers, waiting times, memory."""

from typing import Any

from bench.readme_figures.results import circumstances

CONTENDERS = {
    "mixed": "**an adapter per row**",
    "single": "one adapter for all rows",
    "base": "no adapter",
    "base_int8": "no adapter, int8",
    "base_int4": "no adapter, int4",
    "peft": "PEFT, mixed batch",
    "one_at_a_time": "PEFT, `set_adapter` per query",
    "transformers": "transformers, no adapter",
    "vllm_base": "vLLM CPU, no adapter",
    "vllm_mixed": "vLLM CPU, an adapter per row",
    "llama_cpp_base": "llama.cpp, 4-bit file, no adapter",
    "floor": "the matrix products alone",
}


RATIOS = {
    "vs_peft_mixed": "of PEFT's mixed batch, times",
    "vs_one_at_a_time": "of one at a time, times",
    "share_of_own_base": "of its own speed without adapters",
    "mixed_vs_single": "of one adapter for all rows",
    "share_of_floor": "of the matrix products alone",
    "base_vs_vllm_base": "without adapters, of vLLM, times",
    "vs_vllm_mixed": "of vLLM with adapters, times",
}


def engine(found: dict[str, Any]) -> str:
    """Decode speed beside the peers and the machine's limit."""
    adapters, facts = found["adapters"], found["machine"]
    return (
        f"**Engine**, decode tokens/s of {found['model']} in {facts['dtype']}, {adapters['number']} adapters of rank "
        f"{adapters['rank']} on {adapters['targets']}\nrotating over the rows, "
        f"{found['prompt_tokens']}-token prompts, {facts['threads']} threads; all contenders took turns in one run.\n\n"
        f"{_speeds(found)}\n\n{waiting(found['over_time'])}\n\n{circumstances(facts)}."
    )


def _speeds(found: dict[str, Any]) -> str:
    rates = found["tokens_per_s"]
    sizes = list(rates["mixed"])
    rows = "\n".join(
        f"| {title} | " + " | ".join(str(rates[name].get(size, "")) for size in sizes) + " |"
        for name, title in CONTENDERS.items()
        if name in rates
    )
    shares = "\n".join(
        f"| {title} | " + " | ".join(f"{found[name].get(size, '')}" for size in sizes) + " |"
        for name, title in RATIOS.items()
        if name in found
    )
    header = f"| | {' | '.join(f'{size} rows' for size in sizes)} |\n|---|{'---|' * len(sizes)}\n"
    return f"{header}{rows}\n\nAn adapter per row, as a share or multiple:\n\n{header}{shares}"


def waiting(found: dict[str, Any]) -> str:
    """Waiting times under arrivals by chance, 100 adapters known."""
    rows = "\n".join(
        f"| {r['adapters']} / {r['resident']} | {r['load']:.0%} | {r['first_token_ms']['p50']:.0f} / "
        f"{r['first_token_ms']['p99']:.0f} | {r['between_tokens_ms']['p50']:.0f} / {r['between_tokens_ms']['p99']:.0f} "
        f"| {r['adapter_loads']} | {r['longest_gap_ms']['while_loading']:.0f} |"
        for r in found["poisson"]
    )
    return (
        f"Requests by chance (Poisson, {found['capacity_requests_per_s']} a second is taken as full load), adapters by "
        "popularity (Zipf), milliseconds:\n\n"
        "| adapters known / resident | load | first token p50 / p99 | between tokens p50 / p99 | adapter loads "
        "| longest gap of any row during a load |\n|---|---|---|---|---|---|\n"
        f"{rows}\n\nBeside one adapter that asks for three times what the engine can do, the others' p99 to the first "
        f"token is {found['flood']['p99_first_token_ratio']} times what it is alone."
    )


def soak(found: dict[str, Any]) -> str:
    """An hour's requests."""
    memory = found["memory_mib"]
    return (
        f"**Soak**: {found['requests']} requests over {found['adapters']} adapters ({found['resident']} resident) in "
        f"{found['seconds']} s: resident memory {memory[len(memory) // 2]} MiB half way, {memory[-1]} MiB at the end."
    )

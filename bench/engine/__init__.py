"""How fast the engine decodes with many adapters in one batch, beside its peers and the machine's own limit.

    python -m bench.engine [--quick] [--json FILE] [--quantised] [--skip-load]
                           [--vllm-python PATH] [--llama-python PATH --llama-gguf FILE]

All contenders take turns in one run, with the same model, dtype, threads, prompts (100 random tokens) and adapters
(8 of rank 16 on all linear layers, random weights, rotating over the rows):

    mixed           this engine, adapters rotating over the rows
    single          this engine, one adapter for all rows
    base            this engine, no adapter
    peft            PeftModel with adapter_names: one forward over all rows, its own growing cache
    one_at_a_time   PeftModel with set_adapter per query, one query after another; timed on a few, for any batch size
    transformers    the plain model, one forward over all rows
    floor           the model's matrix products alone, on pre-packed weights, adapters left out
    base_int8, base_int4    this engine, no adapter, the base's weights in 8 or 4 bits (--quantised)
    vllm_base, vllm_mixed   vLLM's CPU build in an environment of its own (bench/peers), where one is given
    llama_cpp_base          llama.cpp on the 4-bit file, one row, likewise

Rates are decode tokens per second once every row has its first token. Then requests arrive by chance (Poisson), their
adapters by popularity (Zipf), at several loads: time to first token and between tokens. The last line printed is the
JSON that is also written.

    contenders.py  the ways to decode          arrivals.py  requests over time
    floor.py       the matrix products alone   report.py    ratios, table, plot
    peer.py        other engines               material.py  model, adapters, prompts
"""

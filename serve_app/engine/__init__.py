"""The continuous-batching multi-LoRA engine. Knows token ids, rows and adapters; knows no Ray, no HTTP, no text.

One step = schedule, run, postprocess; docs/engine.md draws the structures and tells a step from start to end.

    1. a Request (token ids, sampling, adapter version, sink) enters the bounded queue of the Scheduler
    2. `Scheduler.plan` admits waiting requests to free rows, fair between adapters and keys, and fills the step
    3. `Runner.run` passes all tokens of the step, decoded and prompt, of whatever adapter, through the model at once
    4. `EngineLoop` shares the step's time over its rows, hands each token to its request's sink, frees finished rows

    options.py    EngineOptions                         assembly.py  options to the parts of an engine
    request.py    Request, Row, Segment, Plan, Sink     loop.py      the engine thread's work
    scheduler.py  with waiting, admission, packing,     runner.py    a plan to tokens
                  ensembles, rows: no torch             step.py      a plan as tensors
    slots.py      cache slots; prefix.py: who begins    cache.py     their keys and values
                  alike                                 bank.py      resident adapters' matrices
    residency.py  adapter slots; residence.py,          decoders/    models, fused or as transformers wrote them
                  loader.py                             kernels/     what lies between the matrix products
    sampler.py    logits to tokens; draw.py             linear.py    the base's matrix products
    drafter.py    guesses ahead; drafting.py            load.py      model and adapter files
    gate.py       cores shared between engines          probe.py     which dtype, device and kind of product
    pages.py      large pages under weights
"""

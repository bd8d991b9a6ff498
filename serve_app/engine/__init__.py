"""The continuous-batching multi-LoRA engine. Knows token ids, rows and adapters; knows no Ray, no HTTP, no text.

One step = schedule, run, postprocess:

    1. a Request (token ids, sampling, adapter index, sink) enters the bounded queue of the Scheduler
    2. `Scheduler.plan` admits waiting requests to free rows, fair between adapters, and cuts prompts into chunks
    3. `Runner.run` prefills the chunks and decodes one token for every other row, all adapters in one forward
    4. `EngineLoop` shares the step's time over its rows, hands each token to its request's sink, frees finished rows

    options.py    EngineOptions                       lora.py     adapters beside the base's linear layers
    request.py    Request, Row, SampledToken, Sink    load.py     model and adapter files to modules
    scheduler.py  queue and rows; no torch            sampler.py  logits to tokens and what was seen
    cache.py      keys and values, a slot per row     runner.py   owns model and tensors
    gate.py       cores shared between engines        loop.py     the engine thread's work
    probe.py      which dtype and device
"""

"""Training on a user's own rows: LoRA adapters here, what routes and decides in the packages below.

    rows.py        what an adapter learns from, with dataset.py (files, held-out parts) and passages.py (documents)
    plan.py        tokens, and which rows make which step; packing.py lays a batch out without padding
    base.py        the base with LoRA matrices; decoder.py its layers, over adapted.py (products) and attention.py
    lora.py        the loop, with optimiser.py, stopping.py and checkpoint.py
    evaluate.py    answers to held-out rows; scores.py, statistics.py and routed.py say whether they got better
    publish.py     the adapter's folder, with card.py and curve.py
    run.py         one run over all of these

    specialists/   how the rows of the shipped adapters are made of public sets (no torch)
    router/        the classifier that says which adapter answers              (no torch)
    gain/          the pre-router: is the large model worth asking             (no torch)
    cascade/       acceptance models and their thresholds                      (no torch)

Knows torch, PEFT, scikit-learn and files; knows no Ray, no HTTP and no running deployment.
"""

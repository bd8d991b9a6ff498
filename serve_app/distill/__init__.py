"""A cascade that teaches itself: escalated queries and the large model's answers become the next adapter version.

    export ─▶ quality ─▶ split ─▶ train ─▶ gate ─▶ publish
    texts of the      which    no near-    LoRA,    better, no     as a canary, or
    ledger, or a      answers  duplicates  from the domain worse,  a folder with
    log; consent,     to learn across the  live     fewer          its gate report
    near-duplicates   from     parts       weights  escalations

    plan.py      what a run is told                    stages.py     what is done, and of which inputs
    pipeline.py  the stages, over export.py, quality.py, split.py (with near.py), lora.py, gate.py and publish.py
    rows.py      what goes from stage to stage         answers.py, threshold.py   what versions are compared by

Each stage writes its output with a digest of its inputs (`stages`), so a run that was broken off goes on, and a stage
whose inputs changed is done again with all that follow. Knows files, models and the registry; knows no HTTP server and
no Ray. Only `training` and the engines load torch, when their stage begins.
"""

"""Training on a user's own rows: LoRA adapters (`lora`) and the domain router (`router*`).

Knows torch, PEFT and files; knows no Ray, no HTTP and no running deployment.
"""

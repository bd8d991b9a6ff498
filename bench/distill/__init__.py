"""A distillation run for real: what a cascade escalates, risks and saves before and after its small model has learnt.

`task` is the customer's side (requests, labels, the client's prompt), `rounds` the run, `__main__` the figures.
"""

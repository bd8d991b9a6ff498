"""Scripts that measure, each run from the repository's root as `python -m bench.NAME`. Results: bench/results/.

A bench is a module, or a folder with a `__main__`; its docstring says what it measures and what limits the figures.
`all` runs them, `report/` holds the results against the targets, `readme_figures/` writes them for readers.
What benches share:

    machine           the circumstances of a run, and where things lie
    load/             an open-loop client, a bench of any server by itself
    chaos/            a graph to be killed, clients that keep books of their own, the comparison with the ledger
    postgres          a PostgreSQL of one's own
    random_adapters   PEFT folders that were never trained
    watch             lines instead of bars for a training run
    peers/            engines of others, each in an environment of its own
"""

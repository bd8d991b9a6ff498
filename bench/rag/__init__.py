"""Documents: how well and how fast passages are found, and what answers gain by them. `python -m bench.rag`.

For answers: `task` is the data, `kinds` who answers with what, `knowledge` the store, `specialists` the adapters,
`answers` the engine's part, `table` the arithmetic, `served` the product's own pattern, `quality` all of it.
"""

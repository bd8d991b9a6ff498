"""Scripts that measure, each run from the repository's root as `python -m bench.NAME`. Results: bench/results/."""

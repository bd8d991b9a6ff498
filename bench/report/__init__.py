"""The report: every number that Headrace is to reach, its target, and what the result files say, on one page.

    python -m bench.report [--results DIR] [--out DIR]      writes report.html and report.png, prints the table

`target` says what a target is, `targets/` lists them by capability, `outcome` holds them against bench/results/*.json;
`page`, `picture` and `table` show them. Nothing is measured here. The page depends on the result files alone, so a test
can tell whether the one in bench/results is theirs.
"""

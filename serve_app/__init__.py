"""Headrace: many fine-tuned models served for the price of a small one.

`core` holds the nouns, `docs/architecture.md` the path of a query through the packages.
"""

__version__ = "0.1.0"

"""Is an answer right? Scorers of single answers, and the logs that they label.

Knows texts, references and judges; knows no engine, no threshold and no price.
"""

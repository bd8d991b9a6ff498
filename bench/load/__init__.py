"""Load on a running server, by a schedule that never waits for answers (open loop).

    arrivals   when to send: constant, Poisson, steps, or a recorded trace
    asks       what to send: chat completions by weight, with text, tier, key and share of streams
    client     sends on time and keeps what became of each request
    summary    counts, percentiles from the intended time, goodput within an SLO, a series by the second
    find       the highest rate that a server sustains at an SLO

    outcomes = await OpenLoop(url, poisson(50, seconds=30, seed=1), [Ask(model="auto", stream=True)]).run()
    print(summarise(outcomes, slo=Slo(first_text_s=1)))

`python -m bench.load --url http://127.0.0.1:8000 --rate 20` does it from the command line.
"""

from bench.load.arrivals import Schedule, constant, poisson, recorded, steps
from bench.load.asks import Ask
from bench.load.client import OpenLoop, Outcome, Outcomes
from bench.load.summary import Slo, summarise

__all__ = [
    "Ask",
    "OpenLoop",
    "Outcome",
    "Outcomes",
    "Schedule",
    "Slo",
    "constant",
    "poisson",
    "recorded",
    "steps",
    "summarise",
]

"""Load to replicas, as a fraction: pure, and monotone in every load figure. See docs/scaling.md."""

from serve_app.config.scaling import EngineAims, RequestAims
from serve_app.scaling.load import Load, Traffic


def engine_need(aims: EngineAims, load: Load) -> float:
    """Work that arrives, with the backlog that queue delay tells of, or work in flight, whichever needs more.

    A call waits `queue_delay_s` because the replicas that answer are so many seconds behind: their backlog is
    `replicas x queue_delay_s` replica-seconds, to be worked off within `drain_s` beside the work that arrives.

    >>> aims = EngineAims(tokens_per_s=700, utilisation=0.75, residence_s=4, max_delay_s=1, drain_s=30, growth=1)
    >>> engine_need(aims, Load(replicas=1, tokens_per_s=1050))                             # flow: 1050 / (700 x 0.75)
    2.0
    >>> engine_need(aims, Load(replicas=1, tokens_in_flight=8400))                         # in flight: 8400 / (700 x 4)
    3.0
    >>> engine_need(aims, Load(replicas=2, tokens_per_s=1050, queue_delay_s=15))           # 2 + 2 x 15 / 30
    3.0
    >>> engine_need(aims, Load(replicas=2, tokens_per_s=1050, queue_delay_s=600))          # at most `growth` more
    4.0
    """
    flow = load.tokens_per_s / (aims.tokens_per_s * aims.utilisation)
    held = load.tokens_in_flight / (aims.tokens_per_s * aims.residence_s)
    late = load.queue_delay_s > aims.max_delay_s
    backlog = load.replicas * min(load.queue_delay_s / aims.drain_s, aims.growth) if late else 0.0
    return max(flow + backlog, held)


def request_need(aims: RequestAims, load: Load) -> float:
    """Calls in flight, and calls a second where a replica's are known.

    >>> request_need(RequestAims(ongoing=32, per_s=100), Load(ongoing=48, arrivals_per_s=250))
    2.5
    """
    held = load.ongoing / aims.ongoing if aims.ongoing else 0.0
    rate = load.arrivals_per_s / aims.per_s if aims.per_s else 0.0
    return max(held, rate)


def escalation_rate(traffic: Traffic, prior: float, prior_queries: float) -> float:
    """Share of queries that go on to the large model; `prior` counts as much as `prior_queries` decided queries.

    >>> escalation_rate(Traffic(decided=80, escalated=30), prior=0.2, prior_queries=20)
    0.34
    """
    decided = max(traffic.decided, traffic.escalated)
    return (prior * prior_queries + traffic.escalated) / (prior_queries + decided)


def escalation_tokens_per_s(traffic: Traffic, rate: float, call_tokens: float) -> float:
    """Work that will arrive at the fallback: arrivals x escalation rate x tokens of a call.

    >>> escalation_tokens_per_s(Traffic(queries_per_s=10), rate=0.2, call_tokens=90)
    180.0
    """
    return traffic.queries_per_s * rate * call_tokens

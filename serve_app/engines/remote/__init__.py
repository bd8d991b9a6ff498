"""`engine: openai`: a core.Engine over servers elsewhere that speak OpenAI's API. Knows no Ray, no prices, no torch.

engine.py    RemoteEngine: which server answers, retries, deadlines
tries.py     of one call: rounds over the servers, waits, and what to say when nobody answers
server.py    one server: its connections, its rate limit, its breaker; one streamed answer
breaker.py   closed, open, half-open
asking.py    a Call as a request body; what a server turned out not to take
answer.py    events as Deltas
stats.py     TokenStats from reported log-probabilities, and how far they can be trusted
events.py    server-sent events
models.py    what a server says of its models
"""

from serve_app.engines.remote.engine import RemoteEngine

__all__ = ["RemoteEngine"]

"""Spans of an engine's replica: finished, failed, left by the caller, and not asked for."""

from contextlib import aclosing
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serve_app.config.telemetry import TelemetrySettings
from serve_app.core import Call, EngineError, Group, Message, SamplingParams
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.telemetry.engine import TracedEngine
from serve_app.telemetry.otel import OtelTracer

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CALL = Call("q1:specialists:0", SamplingParams(), (Message("user", "hi"),), traceparent=SAMPLED)


class Replica:
    """A traced engine, and what its tracer exported."""

    def __init__(self, engine: FakeEngine) -> None:
        self._exporter = InMemorySpanExporter()
        self._tracer = OtelTracer(TelemetrySettings(sample_share=0.0), "specialists", self._exporter)
        self.engine = TracedEngine(engine, self._tracer, "specialists")

    async def spans(self):
        await self._tracer.close()
        return self._exporter.get_finished_spans()


async def test_a_call_leaves_one_span_under_the_callers_with_its_first_delta_and_no_tokens():
    replica = Replica(FakeEngine(default="three short words"))
    plain = [delta async for delta in FakeEngine(default="three short words").generate(CALL)]
    assert [delta async for delta in replica.engine.generate(CALL)] == plain
    (span,) = await replica.spans()
    assert (span.name, f"{span.parent.span_id:016x}") == ("generate", SAMPLED[36:52])
    said = dict(span.attributes)
    assert said.pop("gen_ai.response.time_to_first_chunk") >= 0
    assert said == {
        "headrace.node": "specialists",
        "headrace.call_id": "q1:specialists:0",
        "headrace.outcome": "finished",
        "headrace.busy_s": plain[-1].usage.busy_s,
        "gen_ai.response.finish_reasons": ("stop",),
    }


async def test_a_caller_that_leaves_closes_the_engine_and_the_span_is_cancelled():
    engine = FakeEngine(default="a long answer of many words")
    replica = Replica(engine)
    async with aclosing(replica.engine.generate(CALL)) as deltas:
        await anext(deltas)
    assert engine.cancelled == [CALL.call_id]
    (span,) = await replica.spans()
    assert (span.attributes["headrace.outcome"], span.status.is_ok) == ("cancelled", True)


async def test_an_error_is_raised_on_and_named():
    replica = Replica(FakeEngine(default=FakeAnswer("one two three", fail_after=1)))
    with pytest.raises(EngineError):
        [delta async for delta in replica.engine.generate(CALL)]
    (span,) = await replica.spans()
    assert (span.attributes["error.type"], span.attributes["headrace.outcome"]) == ("EngineError", "failed")


async def test_each_member_of_a_group_leaves_its_span_with_its_own_outcome():
    calls = (CALL, replace(CALL, call_id="q1:specialists:1"), replace(CALL, call_id="lost", adapter="nobody"))
    replica = Replica(FakeEngine(lambda call: FakeAnswer("one two", fail_after=1 if call.call_id[-1] == "1" else None)))
    said = [one async for one in replica.engine.generate_group(Group(calls))]
    assert sorted(one.member for one in said if one.is_last) == [0, 1, 2]
    outcomes = {one.attributes["headrace.call_id"]: one.attributes for one in await replica.spans()}
    assert [outcomes[call.call_id]["headrace.outcome"] for call in calls] == ["finished", "failed", "failed"]
    assert [outcomes[call.call_id].get("error.type") for call in calls] == [None, "EngineError", "ModelNotFound"]


@pytest.mark.parametrize("traceparent", [None, SAMPLED[:-1] + "0"])
async def test_nothing_is_kept_of_a_call_that_is_not_traced(traceparent):
    replica = Replica(FakeEngine(default="words"))
    call = Call("q1:specialists:0", SamplingParams(), (Message("user", "hi"),), traceparent=traceparent)
    assert [delta async for delta in replica.engine.generate(call)]
    assert (await replica.engine.info()).model
    assert await replica.spans() == ()

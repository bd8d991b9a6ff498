"""Look up, answer again, keep."""

import json

import pytest

from serve_app.cache import ResponseCache
from serve_app.cache.policy import SemanticPolicy, write
from serve_app.config.cache import CacheSettings
from serve_app.core import ConfigError, Message

QUESTION = "What is the capital of France?"
REWORDED = "What is France's capital, of all?"
OTHER = "Why do zebras buzz?"


def policy(**changes):
    fields = {
        **{"threshold": 0.8, "alpha": 0.05, "delta": 0.1, "num_labels": 100, "design_labels": 50, "num_hits": 60},
        **{"num_wrong": 0, "risk_bound": 0.04, "encoder_digest": "letters", "data_sha256": "d", "seed": 0},
        "headrace": "1",
    }
    return SemanticPolicy(**{**fields, **changes})


@pytest.fixture
def make(tmp_path, vectors, clock):
    write(policy(), tmp_path / "policy.json")

    def make(semantic=True, **options):
        found = {"policy": str(tmp_path / "policy.json"), "keys": ["alice"]} if semantic else {}
        settings = CacheSettings.model_validate({"enabled": True, "ttl_s": 10, "semantic": found, **options})
        return ResponseCache(settings, vectors, clock=clock, warm_adapters=("warm",))

    return make


async def ask(cache, query, answer=None, **options):
    """What a gateway does: find, else generate and keep."""
    lookup = cache.lookup(query, 1, "f")
    found = await cache.find(lookup, **options)
    if found.answer is None and answer is not None:
        cache.put(lookup, answer, found.vector)
    return found


async def test_the_same_request_gets_the_same_answer(make, query, answer):
    cache, kept = make(semantic=False), answer()
    assert (await ask(cache, query(), kept)).answer is None
    found = await ask(cache, query(f" {QUESTION}", query_id="q2"))
    assert (found.answer, found.kind) == (kept, "exact")
    report = cache.report()
    assert (report.exact_hits, report.misses, report.stored, report.entries) == (1, 1, 1, 1)
    assert report.num_bytes > kept.num_bytes


async def test_nothing_is_looked_up_while_switched_off(vectors, query):
    assert ResponseCache(CacheSettings(), vectors).lookup(query(), 1, "f") is None


async def test_no_key_gets_the_answer_of_another(make, query, answer):
    cache = make()
    await ask(cache, query(), answer())
    for key_id in ("bob", None):
        for text in (QUESTION, REWORDED):
            assert (await ask(cache, query(text, key_id=key_id), opted_in=True)).answer is None


async def test_a_question_that_means_the_same_gets_the_answer_where_the_key_asked_for_it(make, query, answer):
    cache, kept = make(), answer()
    await ask(cache, query(), kept)
    found = await ask(cache, query(REWORDED))
    assert (found.answer, found.kind) == (kept, "semantic")
    assert 0.8 < found.similarity < 1
    assert (await ask(cache, query(OTHER))).answer is None
    assert cache.report().semantic_hits == 1


async def test_a_key_that_did_not_ask_has_no_vector_made(make, query, answer, vectors):
    cache = make()
    assert (await ask(cache, query(key_id="bob"), answer())).vector is None
    assert (await ask(cache, query(REWORDED, key_id="bob"))).answer is None
    assert vectors.asked == []
    assert cache.report().questions == 0
    await ask(cache, query(OTHER, key_id="bob"), answer(), opted_in=True)
    assert cache.report().questions == 1


async def test_a_text_that_the_encoder_does_not_read_whole_is_matched_exactly_only(make, query, answer):
    cache, text = make(), "word " * 50
    assert (await ask(cache, query(text), answer())).vector is None
    assert (await ask(cache, query(text + "x"))).answer is None
    assert (await ask(cache, query(text))).kind == "exact"


async def test_other_system_prompts_numbers_and_conversations_are_apart(make, query, answer):
    cache = make()
    await ask(cache, query("the capital in 1990"), answer())
    for other in (
        query("the capital in 1991"),
        query(messages=(Message("system", "x"), Message("user", "the capital in 1990"))),
        query(messages=(Message("user", "a"), Message("assistant", "b"), Message("user", "the capital in 1990"))),
    ):
        assert (await ask(cache, other)).answer is None


async def test_a_question_whose_answer_has_gone_gives_way_to_the_next(make, query, answer, clock):
    cache, older, newer = make(), answer("older"), answer("newer")
    for text, kept in ((QUESTION, older), ("Now: " + QUESTION, newer)):
        lookup = cache.lookup(query(text), 1, "f")
        cache.put(lookup, kept, (await cache.find(lookup)).vector)
        clock.now_s += 6
    assert cache.report().questions == 2
    assert (await ask(cache, query(REWORDED))).answer is newer
    assert (cache.report().questions, cache.report().expired) == (1, 1)


async def test_another_fingerprint_finds_nothing(make, query, answer):
    cache = make()
    await ask(cache, query(), answer())
    for text in (QUESTION, REWORDED):
        assert (await cache.find(cache.lookup(query(text), 1, "g"))).answer is None


async def test_a_failing_encoder_is_a_miss(make, query, answer, vectors, caplog):
    cache = make()
    vectors.broken = True
    assert (await ask(cache, query(), answer())).answer is None
    assert (await ask(cache, query())).kind == "exact"
    assert cache.report().vector_errors == 1
    assert "The encoder is away." in caplog.text


async def test_an_adapter_that_samples_by_default_is_kept_only_for_who_asked_for_temperature_zero(make, query, answer):
    cache = make()
    await ask(cache, query(temperature=None), answer(adapter="warm"))
    assert (await ask(cache, query(temperature=None), answer(adapter="warm"))).answer is None
    await ask(cache, query(temperature=0.0), answer(adapter="warm"))
    assert (await ask(cache, query(temperature=0.0))).kind == "exact"


async def test_what_did_not_end_well_is_not_kept(make, query):
    cache = make()
    assert not cache.put(cache.lookup(query(), 1, "f"), None)


def test_a_policy_of_another_encoder_is_refused(tmp_path, make, vectors):
    write(policy(encoder_digest="digits"), tmp_path / "policy.json")
    settings = {"enabled": True, "semantic": {"policy": str(tmp_path / "policy.json")}}
    with pytest.raises(ConfigError, match=r"cache\.semantic\.policy .*digits.*letters"):
        ResponseCache(CacheSettings.model_validate(settings), vectors)
    with pytest.raises(ConfigError, match="no encoder"):
        ResponseCache(CacheSettings.model_validate(settings))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no format"),
        (json.dumps({"format": 2}), "format 2"),
        (json.dumps({"format": 1, "threshold": 2}), "threshold"),
        (None, "Cannot read"),
    ],
)
def test_a_damaged_policy_names_the_key_and_the_file(tmp_path, make, vectors, text, message):
    path = tmp_path / "policy.json"
    path.unlink() if text is None else path.write_text(text)
    settings = CacheSettings.model_validate({"enabled": True, "semantic": {"policy": str(path)}})
    with pytest.raises(ConfigError, match=r"cache\.semantic\.policy: .*policy\.json.*") as caught:
        ResponseCache(settings, vectors)
    assert message in str(caught.value)

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from serve_app.training.packing import pack  # noqa: E402  (torch first)
from serve_app.training.plan import Example  # noqa: E402

rows = st.lists(
    st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.lists(st.integers(0, 2), min_size=1, max_size=3)),
    min_size=1,
    max_size=8,
).map(lambda pairs: [Example((*prompt, *answer), len(prompt)) for prompt, answer in pairs])


@given(rows)
def test_every_place_holds_its_token_under_the_prefix_of_its_row(batch):
    packed = pack(batch, torch.device("cpu"))
    prefix_of = {}
    for row, example in enumerate(batch):
        for position, token in enumerate(example.token_ids):
            node = int(packed.node_of[row, position])
            assert (int(packed.token_ids[node]), int(packed.positions[node])) == (token, position)
            prefix = example.token_ids[: position + 1]
            assert prefix_of.setdefault(node, prefix) == prefix
    assert len(prefix_of) == packed.num_nodes == len(set(prefix_of.values()))


@given(rows)
def test_every_place_but_padding_is_listed_once(batch):
    packed = pack(batch, torch.device("cpu"))
    longest = packed.node_of.shape[1]
    places = [row * longest + place for row, one in enumerate(batch) for place in range(len(one.token_ids))]
    assert sorted([*packed.place_of.tolist(), *packed.again_places.tolist()]) == places
    flat = packed.node_of.flatten()
    assert flat[packed.place_of].tolist() == list(range(packed.num_nodes))
    assert flat[packed.again_places].tolist() == packed.again_nodes.tolist()


@given(rows)
def test_targets_are_the_completions_each_after_its_node(batch):
    packed = pack(batch, torch.device("cpu"))
    wanted = [(one.token_ids[at - 1], one.token_ids[at]) for one in batch
              for at in range(one.num_prompt_tokens, len(one.token_ids))]  # fmt: skip
    before = packed.token_ids[packed.predicting].tolist()
    assert list(zip(before, packed.targets.tolist(), strict=True)) == wanted

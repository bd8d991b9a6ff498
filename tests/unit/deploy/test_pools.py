"""The model of Ray's placement that the tests of the deployment files rest on."""

import pytest

from serve_app.config import DeploymentSettings
from tests.unit.deploy.pools import Pool, can_hold, fit_together

NODE = Pool("cpu", {"CPU": 3, "GPU": 0}, {"pool": "cpu"}, 1, 2)


@pytest.mark.parametrize(
    ("rule", "labels", "allowed"),
    [
        ("cpu", {"pool": "cpu"}, True),
        ("cpu", {}, False),
        ("!cpu", {}, True),
        ("!cpu", {"pool": "cpu"}, False),
        ("!in(a,b)", {"pool": "b"}, False),
        ("in(a,b)", {"pool": "b"}, True),
    ],
)
def test_a_node_without_the_label_fulfils_only_what_is_turned_around(rule, labels, allowed):
    node = Pool("one", {"CPU": 1}, labels, 1, 1)
    assert can_hold(node, DeploymentSettings(num_cpus=1, node_labels={"pool": rule})) is allowed


def test_a_node_gives_no_more_than_it_has():
    replica = DeploymentSettings(num_cpus=2)
    assert fit_together(NODE, 2, [(replica, 2)])
    assert not fit_together(NODE, 2, [(replica, 3)])
    assert not can_hold(NODE, DeploymentSettings(num_gpus=0.5))


def test_replicas_with_a_bound_per_node_need_as_many_nodes():
    replica = DeploymentSettings(num_cpus=0.1, max_per_node=1)
    assert fit_together(NODE, 2, [(replica, 2)])
    assert not fit_together(NODE, 2, [(replica, 3)])

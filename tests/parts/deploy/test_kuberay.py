"""deploy/kuberay: valid objects, a graph that fits its pods, pods that end later than their queries."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import ray
import yaml
from ray.serve.schema import ServeDeploySchema

from serve_app.config import Settings, load
from serve_app.config.serve import nodes_of
from tests.parts.deploy.conftest import KUBERAY, ray_service
from tests.parts.deploy.ray_api import RayServiceSpec
from tests.parts.deploy.rendering import rendering
from tests.unit.deploy.pools import Pool, can_hold, fit_together

CUSTOM = {"RayService", "PodMonitor", "PrometheusRule"}
DRAIN_WAIT_S = 150


@pytest.fixture(scope="session")
def spec(objects: list[dict[str, Any]]) -> RayServiceSpec:
    return RayServiceSpec.model_validate(ray_service(objects)["spec"])


@pytest.fixture
def settings(objects: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the pods read."""
    (found,) = [one for one in objects if one["kind"] == "ConfigMap" and "settings.yaml" in one["data"]]
    (tmp_path / "settings.yaml").write_text(found["data"]["settings.yaml"])
    monkeypatch.setenv("HEADRACE_OPERATOR_KEY", "12345678")
    return load(str(tmp_path / "settings.yaml"))


def check(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_kubernetes_own_objects_are_valid(objects: list[dict[str, Any]]) -> None:
    for one in objects:
        if one["kind"] not in CUSTOM:
            check(one)


def test_the_pods_of_the_ray_cluster_are_valid(spec: RayServiceSpec) -> None:
    for template in spec.rayClusterConfig.pods().values():
        check({"apiVersion": "v1", "kind": "PodTemplate", "template": template})


def test_no_password_stands_in_any_object(objects: list[dict[str, Any]]) -> None:
    assert not [one for one in objects if one["kind"] == "Secret"]
    for template in RayServiceSpec.model_validate(ray_service(objects)["spec"]).rayClusterConfig.pods().values():
        for variable in template["spec"]["containers"][0]["env"]:
            assert variable["name"] == "HEADRACE_CONFIG" or "secretKeyRef" in variable["valueFrom"]


def test_every_pod_has_the_settings_and_their_name_changes_with_them(
    objects: list[dict[str, Any]], spec: RayServiceSpec
) -> None:
    (name,) = [one["metadata"]["name"] for one in objects if "settings.yaml" in one.get("data", {})]
    assert name.startswith("headrace-settings-")
    for template in spec.rayClusterConfig.pods().values():
        (volume,) = [one for one in template["spec"]["volumes"] if one["name"] == "settings"]
        assert volume["configMap"]["name"] == name


def test_every_container_has_the_image_of_the_overlay(spec: RayServiceSpec) -> None:
    pods = [template["spec"] for template in spec.rayClusterConfig.pods().values()]
    images = {one["image"] for pod in pods for one in [*pod["containers"], *pod.get("initContainers", ())]}
    assert images == {"registry.example.com/headrace:0.1.0"}


def test_the_serve_config_has_no_key_that_serve_would_ignore(spec: RayServiceSpec) -> None:
    raw = yaml.safe_load(spec.serveConfigV2)
    parsed = ServeDeploySchema.model_validate(raw).model_dump(mode="json", exclude_unset=True)
    assert raw == parsed


def test_ray_s_version_is_the_installed_one(spec: RayServiceSpec) -> None:
    assert spec.rayClusterConfig.rayVersion == ray.__version__


def pools(spec: RayServiceSpec) -> list[Pool]:
    """What each pool's pods give away; Ray may give no GPU that Kubernetes has not given."""
    found = []
    for group in spec.rayClusterConfig.workerGroupSpecs:
        (container,) = group.template["spec"]["containers"]
        gives = {"CPU": float(group.rayStartParams["num-cpus"]), "GPU": float(group.rayStartParams["num-gpus"])}
        assert gives["GPU"] == float(container["resources"]["limits"].get("nvidia.com/gpu", 0))
        found.append(Pool(group.groupName, gives, group.labels, group.minReplicas, group.maxReplicas))
        assert group.minReplicas == group.replicas
    return found


def test_each_deployment_fits_one_pool_and_the_pools_hold_the_graph(spec: RayServiceSpec, settings: Settings) -> None:
    homes: dict[str, list[tuple[Any, str]]] = {}
    for name in (*nodes_of("production", settings), "retriever"):  # there is room for documents, too
        deployment = getattr(settings.deployments, name)
        (home,) = [pool.name for pool in pools(spec) if can_hold(pool, deployment)]
        homes.setdefault(home, []).append((deployment, name))
    for pool in pools(spec):
        mine = [deployment for deployment, _ in homes[pool.name]]
        assert fit_together(pool, pool.min_nodes, [(one, one.min_replicas) for one in mine])
        assert fit_together(pool, pool.max_nodes, [(one, one.max_replicas) for one in mine])


def test_nothing_runs_on_the_head(spec: RayServiceSpec) -> None:
    start = spec.rayClusterConfig.headGroupSpec.rayStartParams
    assert (start["num-cpus"], start["num-gpus"]) == ("0", "0")
    assert spec.excludeHeadPodFromServeSvc


def test_a_pod_waits_for_its_queries_before_it_ends(spec: RayServiceSpec, settings: Settings, repo: Path) -> None:
    draining = rendering(repo).DRAIN_S
    slowest = max(deployment.graceful_shutdown_s for _, deployment in settings.deployments)
    for name, template in spec.rayClusterConfig.pods().items():
        pod = template["spec"]
        if name == "head":
            continue
        command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1]
        assert f"--deadline-remaining-seconds {DRAIN_WAIT_S};" in command and f"$(seq {DRAIN_WAIT_S})" in command
        assert slowest + draining < DRAIN_WAIT_S < pod["terminationGracePeriodSeconds"]
    assert spec.rayClusterDeletionDelaySeconds > slowest + draining


def test_every_pool_is_watched_by_the_network_policy_and_what_may_not_go_at_once_by_a_budget(
    objects: list[dict[str, Any]],
) -> None:
    service = RayServiceSpec.model_validate(ray_service(objects)["spec"])
    labels = [template["metadata"]["labels"] for template in service.rayClusterConfig.pods().values()]
    budgets = [one["spec"]["selector"]["matchLabels"] for one in objects if one["kind"] == "PodDisruptionBudget"]
    assert all(one in labels for one in budgets)
    assert {one["app.kubernetes.io/component"] for one in budgets} == {"cpu", "head"}
    for policy in (one for one in objects if one["kind"] == "NetworkPolicy"):
        assert all(policy["spec"]["podSelector"]["matchLabels"].items() <= one.items() for one in labels)


def test_only_gateways_are_open_to_the_ingress(objects: list[dict[str, Any]]) -> None:
    (policy,) = [one for one in objects if one["kind"] == "NetworkPolicy" and one["metadata"]["name"] == "headrace"]
    open_to = {
        source["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]: {
            port["port"] for port in rule["ports"]
        }
        for rule in policy["spec"]["ingress"]
        for source in rule["from"]
        if "namespaceSelector" in source
    }
    assert open_to == {"ingress-nginx": {8000}, "kuberay-system": {8000, 8265}}


def test_only_with_fault_tolerance_may_the_head_be_moved(objects: list[dict[str, Any]], spec: RayServiceSpec) -> None:
    (budget,) = [one for one in objects if one["metadata"]["name"] == "headrace-head"]
    survives = spec.rayClusterConfig.gcsFaultToleranceOptions is not None
    assert budget["spec"]["minAvailable"] == (0 if survives else 1)


def test_budgets_count_pods_since_no_owner_says_how_many_there_should_be(objects: list[dict[str, Any]]) -> None:
    budgets = [one["spec"] for one in objects if one["kind"] == "PodDisruptionBudget"]
    assert len(budgets) == 2
    assert all(isinstance(one["minAvailable"], int) and "maxUnavailable" not in one for one in budgets)


def test_pods_pull_the_models_that_the_settings_name(spec: RayServiceSpec, settings: Settings) -> None:
    pulled = {
        word
        for template in spec.rayClusterConfig.pods().values()
        for container in template["spec"].get("initContainers", ())
        for word in container["command"][3:]
    }
    wanted = {settings.router.encoder, settings.specialists.model, settings.fallback.model}
    assert pulled == (wanted if "--demo" not in pulled else {"--demo"})


@pytest.mark.parametrize("file", sorted(KUBERAY.rglob("*.yaml")), ids=lambda file: str(file.relative_to(KUBERAY)))
def test_every_file_is_in_a_kustomization(file: Path) -> None:
    list(yaml.compose_all(file.read_text()))
    if file.name == "kustomization.yaml":
        return
    assert file.name in (file.parent / "kustomization.yaml").read_text()

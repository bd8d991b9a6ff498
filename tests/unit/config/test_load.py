"""The settings file: profiles load, and every mistake is one sentence that names the key."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.config import CONFIG_ENV, load, profiles
from serve_app.config.deployments import DeploymentsSettings
from serve_app.config.reference import markdown
from serve_app.core import ConfigError


@pytest.fixture
def raw() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(profiles()["demo"].read_text(encoding="utf-8"))
    return loaded


def write(path: Path, raw: object) -> str:
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", sorted(profiles()))
def test_every_packaged_profile_loads(name: str) -> None:
    assert load(name).specialists.model


def test_the_environment_names_the_file(tmp_path: Path, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    raw["cascade"]["threshold"] = 0.25
    monkeypatch.setenv(CONFIG_ENV, write(tmp_path / "mine.yaml", raw))
    assert load().cascade.threshold == 0.25


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("cascade", "treshold", 0.5, "unknown key `cascade.treshold`"),
        ("cascade", "threshold", 1.5, "`cascade.threshold`: Input should be less than or equal to 1, got 1.5"),
        ("cascade", "route_thresholds", {"legal": 5}, "`cascade.route_thresholds.legal`: Input should be less than"),
        ("cascade", "signal", "vibes", "`cascade.signal`"),
        ("specialists", "max_rows", 0, "`specialists.max_rows`"),
        ("specialists", "step_tokens", 16, "`specialists`: step_tokens 16 is not more than max_rows 16"),
        ("specialists", "linear", "int2", "`specialists.linear`: Input should be 'auto', 'plain', 'packed', 'int8' or"),
        ("specialists", "kernels", "cuda", "`specialists.kernels`: Input should be 'auto', 'native' or 'plain'"),
        ("fallback", "prefix_slots", -1, "`fallback.prefix_slots`"),
        ("fallback", "cache_mb", 0, "`fallback.cache_mb`"),
        ("fallback", "adapter_slots", 0, "`fallback.adapter_slots`"),
        ("fallback", "max_adapter_rank", 1000, "`fallback.max_adapter_rank`"),
        ("fallback", "draft_tokens", 17, "`fallback.draft_tokens`"),
        ("routes", "adapters", {"legal": "large"}, "'large', which no adapter can be called"),
        ("adapters", "auto", {"path": "x"}, "adapters.auto: the name is reserved"),
        ("specialists", "model", "unpriced", "prices.models has no entry for 'unpriced'"),
        ("deployments", "ledger", {"num_cpus": 1, "max_replicas": 2}, "ledger must have exactly one replica"),
        ("deployments", "ledger", {"surge_percent": 100}, "ledger.surge_percent must be 0"),
        ("adapters", "Le gal", {"path": "x"}, "adapters.Le gal: a name is 1 to 64 of a-z"),
        ("deployments", "specialists", {"num_cpus": math.inf}, "`deployments.specialists.num_cpus`: Input should be a"),
        ("scaling", "policy", "guess", "`scaling.policy`"),
        ("scaling", "fallback", {"engine": {}}, "key `scaling.fallback.engine.tokens_per_s` is missing"),
        ("scaling", "router", {"engine": {}}, "unknown key `scaling.router.engine`"),
        ("scaling", "gateway", {"pace": {"margin": -1}}, "`scaling.gateway.pace.margin`"),
        ("deployments", "router", {"min_replicas": 3}, "min_replicas 3 is above max_replicas 1"),
    ],
)
def test_a_mistake_is_named(
    tmp_path: Path, raw: dict[str, Any], section: str, key: str, value: object, said: str
) -> None:
    raw.setdefault(section, {})[key] = value
    with pytest.raises(ConfigError) as error:
        load(write(tmp_path / "mine.yaml", raw))
    assert said in str(error.value)
    assert str(tmp_path / "mine.yaml") in str(error.value)


def test_the_speed_of_an_engine_that_headrace_scales_must_be_given(tmp_path: Path, raw: dict[str, Any]) -> None:
    raw["deployments"]["fallback"] = {"min_replicas": 0, "max_replicas": 2}
    raw["scaling"] = {"policy": "headrace"}
    with pytest.raises(ConfigError, match=r"scaling\.fallback\.engine\.tokens_per_s is missing"):
        load(write(tmp_path / "mine.yaml", raw))
    raw["scaling"]["fallback"] = {"engine": {"tokens_per_s": 100}}
    assert load(write(tmp_path / "mine.yaml", raw)).scaling.specialists.engine is None, "its replicas are fixed"


def test_a_short_key_is_refused_and_not_repeated(tmp_path: Path, raw: dict[str, Any]) -> None:
    raw["gateway"]["api_keys"] = {"ops": "s3cret"}
    with pytest.raises(ConfigError, match="fewer than 8 characters") as error:
        load(write(tmp_path / "mine.yaml", raw))
    assert "s3cret" not in str(error.value)


def test_a_missing_section_is_named(tmp_path: Path, raw: dict[str, Any]) -> None:
    del raw["prices"]
    with pytest.raises(ConfigError, match="key `prices` is missing"):
        load(write(tmp_path / "mine.yaml", raw))


@pytest.mark.parametrize("text", ["a: [", "- 1", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load(str(path))


@pytest.mark.parametrize(("value", "kind"), [("2026-02-30", "timestamp"), ("0x_", "int"), ("!!float abc", "float")])
def test_a_date_or_a_number_that_is_none_is_named_by_its_place(tmp_path: Path, value: str, kind: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"prices:\n  version: {value}\n")
    with pytest.raises(
        ConfigError, match=rf"mine\.yaml: not valid YAML \(line 2, column 12: this is no {kind}; quote it"
    ):
        load(str(path))


def test_no_such_file_names_the_profiles() -> None:
    with pytest.raises(ConfigError, match=r"one of .*demo"):
        load("nowhere.yaml")


def test_the_reference_page_is_current(repo: Path) -> None:
    page = (repo / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == markdown(), "run: headrace reference config > docs/configuration.md"


def test_a_key_given_twice_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("cascade:\n  threshold: 0.5\n  threshold: 0.9\n")
    with pytest.raises(ConfigError, match=r"line 3, column 3: the key 'threshold' is given twice"):
        load(str(path))


def test_a_secret_may_come_from_the_environment(
    tmp_path: Path, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "mine.yaml", raw | {"gateway": {"admin_keys": {"operator": "REPLACED"}}})
    Path(path).write_text(Path(path).read_text().replace("REPLACED", "!env OPERATOR_KEY"))
    with pytest.raises(ConfigError, match=r"line \d+: set the environment variable 'OPERATOR_KEY'"):
        load(path)
    monkeypatch.setenv("OPERATOR_KEY", "k-12345678")
    assert load(path).gateway.admin_keys["operator"].get_secret_value() == "k-12345678"


@pytest.mark.parametrize(
    "text",
    [
        'gateway: {api_keys: {me: "sk-SECRET}}\n',
        "ledger: postgresql://ada:SECRET@db/ledger\n",
        "ledger: {url: [postgresql://ada:SECRET@db/ledger]}\n",
    ],
)
def test_a_mistake_beside_a_secret_does_not_repeat_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load(str(path))
    assert "SECRET" not in str(error.value)


def test_the_example_of_a_fallback_elsewhere_in_the_deploy_page_loads(
    tmp_path: Path, raw: dict[str, Any], repo: Path
) -> None:
    section = (repo / "docs" / "deploy.md").read_text(encoding="utf-8").partition("## A fallback elsewhere")[2]
    example = yaml.safe_load(section.partition("```yaml")[2].partition("```")[0])
    settings = load(write(tmp_path / "mine.yaml", raw | example))
    assert settings.fallback.remote is not None
    assert [server.api_key_env for server in settings.fallback.remote.servers] == ["OPENAI_API_KEY", None]


def test_an_address_or_a_header_that_is_refused_is_not_repeated(tmp_path: Path, raw: dict[str, Any]) -> None:
    server = {"base_url": "http://ada:s3cret@host", "model": "m", "headers": {"x-secret": 5}}
    raw["fallback"] |= {"engine": "openai", "remote": {"servers": [server]}}
    with pytest.raises(ConfigError, match=r"servers.0.base_url.*no user, password") as error:
        load(write(tmp_path / "mine.yaml", raw))
    assert "s3cret" not in str(error.value)


def test_a_deployment_that_sets_something_else_keeps_its_own_cores() -> None:
    given = DeploymentsSettings.model_validate({"gateway": {"max_ongoing_requests": 600}, "ledger": {"num_cpus": 2}})
    assert (given.gateway.num_cpus, given.ledger.num_cpus) == (0.2, 2.0)
    assert given.fallback == DeploymentsSettings().fallback
    assert DeploymentsSettings.model_validate(given.model_dump()) == given

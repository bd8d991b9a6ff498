"""The dashboard and the alert rules: every metric and label that they name exists, and every metric is looked at."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.telemetry.instruments import ALL, Instrument

SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket",)}
PAGE_NAMES: dict[str, Instrument] = {one.full_name + suffix: one for one in ALL for suffix in SUFFIXES[one.kind]}
ONLY_AS_DETAIL = {
    "headrace_saved_usd",
    "headrace_cache_bytes",
    "headrace_signal_ks",
    "headrace_adapters",
    "headrace_adapter_revision",
    "headrace_engine_adapter_revision",
    "headrace_engine_adapters_failed",
}
"""Metrics for queries of one's own: the dashboard shows what they stand beside."""
NAME = re.compile(r"\b(?:ray_)?(headrace_[a-z_]+)")
MATCHERS = re.compile(r"headrace_([a-z_]+)\{([^}]*)\}")
BY = re.compile(r"\bby \(([a-z_, ]+)\)")


def dashboard(repo: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((repo / "deploy" / "grafana" / "headrace.json").read_text())
    return found


def panels(repo: Path) -> list[dict[str, Any]]:
    return [panel for panel in dashboard(repo)["panels"] if panel["type"] != "row"]


def dashboard_queries(repo: Path) -> list[str]:
    found = [target["expr"] for panel in panels(repo) for target in panel["targets"]]
    return [query.replace("${prefix}", "ray_headrace_") for query in found]


def rules(repo: Path) -> list[dict[str, Any]]:
    text = (repo / "deploy" / "prometheus" / "headrace.rules.yml").read_text()
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


@pytest.fixture
def queries(repo: Path) -> list[str]:
    """All expressions in deploy/."""
    return dashboard_queries(repo) + [rule["expr"] for rule in rules(repo)]


def test_every_metric_that_is_named_exists(queries):
    named = {name for query in queries for name in NAME.findall(query)}
    assert named <= PAGE_NAMES.keys()


def test_every_metric_is_on_the_dashboard_or_known_as_a_detail(repo):
    shown = {name for query in dashboard_queries(repo) for name in NAME.findall(query)}
    assert PAGE_NAMES.keys() - shown == ONLY_AS_DETAIL


def test_every_label_that_is_named_exists(queries):
    for query in queries:
        labels = {label for name in NAME.findall(query) for label in PAGE_NAMES[name].labels} | {"le", "replica"}
        for name, matchers in MATCHERS.findall(query):
            asked = set(re.findall(r"([a-z_]+)\s*=", matchers.replace("=~", "=").replace("!=", "=")))
            assert asked <= set(PAGE_NAMES["headrace_" + name].labels), query
        for by in BY.findall(query):
            assert {label.strip() for label in by.split(",")} <= labels, query


def test_metrics_named_in_the_words_of_alerts_exist(repo):
    text = (repo / "deploy" / "prometheus" / "headrace.rules.yml").read_text()
    stems = tuple(one.full_name for one in ALL)
    for name in set(NAME.findall(text)) - {"headrace_"}:
        assert name.startswith(stems), name


def test_alerts_say_what_is_wrong_what_to_do_and_how_urgent_it_is(repo):
    found = rules(repo)
    assert len({rule["alert"] for rule in found}) == len(found) > 10
    for rule in found:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_panels_have_numbers_of_their_own_a_description_and_do_not_overlap(repo):
    everything = dashboard(repo)["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert all(panel["description"] and panel["fieldConfig"]["defaults"]["unit"] for panel in panels(repo))
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken and all(x < 24 for x, _ in cells)
        taken |= cells


def test_promtool_takes_rules_and_queries_and_the_alerts_fire_when_they_should(repo, tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install promtool)")
    exprs = [query.replace("$__rate_interval", "1m").replace("$__range", "1h") for query in dashboard_queries(repo)]
    recorded = [{"record": f"panel:{index}", "expr": expr} for index, expr in enumerate(exprs)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    folder = repo / "deploy" / "prometheus"
    for arguments in (
        ("check", "rules", str(tmp_path / "panels.yml"), "headrace.rules.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("test", "rules", "headrace.rules.test.yml"),
    ):
        done = subprocess.run([promtool, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

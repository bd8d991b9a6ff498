"""Writes what the files in deploy/ take from the package, so that it stands in one place: `python deploy/render.py`.

- Dockerfile: the Serve switches, from serve_app/deployments/switches.py.
- kuberay/overlays/*/serve-config.yaml: the RayService's `serveConfigV2`, from the settings.yaml beside it.
- kuberay/components/monitoring/prometheusrule.yaml: the alerts, from prometheus/headrace.rules.yml.
"""

import json
import os
import re
from pathlib import Path

from serve_app.config import load
from serve_app.config.serve import deploy_yaml
from serve_app.deployments.switches import every_node

HERE = Path(__file__).resolve().parent
DOCKERFILE = HERE / "docker" / "Dockerfile"
OVERLAYS = HERE / "kuberay" / "overlays"
RULES = HERE / "prometheus" / "headrace.rules.yml"
RULE = HERE / "kuberay" / "components" / "monitoring" / "prometheusrule.yaml"
SETTINGS_PATH = "/etc/headrace/settings.yaml"
"""Where every pod finds the settings."""
OPERATOR_KEY = "HEADRACE_OPERATOR_KEY"
DRAIN_S = 10
"""How long a gateway that was told to stop goes on taking connections, until every node's HAProxy has heard of it."""
_HAPROXY = "RAY_SERVE_HAPROXY_BINARY_PATH"
_DRAIN = "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"


def switches() -> dict[str, str]:
    """What a node of a cluster has in its environment before Ray starts."""
    return every_node() | {_HAPROXY: "/opt/headrace/bin/headrace-haproxy", _DRAIN: str(DRAIN_S)}


def dockerfile() -> str:
    """The Dockerfile with today's switches."""
    lines = " \\\n".join(f"    {name}={json.dumps(value)}" for name, value in switches().items())
    return re.sub(
        r"(?<=^    RAY_USAGE_STATS_ENABLED=0 \\\n).*?(?=\nUSER )",
        lambda _: lines,
        DOCKERFILE.read_text(),
        flags=re.M | re.S,
    )


def serve_config(overlay: Path) -> str:
    """The patch that gives the RayService its Serve config. Raises ConfigError where the settings are wrong."""
    os.environ.setdefault(OPERATOR_KEY, "only-its-presence-matters-here")
    config = deploy_yaml(load(str(overlay / "settings.yaml")), "production", SETTINGS_PATH)
    body = "".join(f"    {line}\n" for line in config.splitlines())
    head = "# Written by deploy/render.py from settings.yaml.\napiVersion: ray.io/v1\nkind: RayService\n"
    return f"{head}metadata:\n  name: headrace\nspec:\n  serveConfigV2: |\n{body}"


def prometheus_rule() -> str:
    """The alerts as the Prometheus operator takes them."""
    body = "".join(
        f"  {line}\n" if line else "\n" for line in RULES.read_text().splitlines() if not line.startswith("#")
    )
    head = "# Written by deploy/render.py from deploy/prometheus/headrace.rules.yml.\n"
    about = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: headrace\nspec:\n"
    return f"{head}{about}{body}"


def main() -> None:
    """Write the files anew."""
    RULE.write_text(prometheus_rule())
    DOCKERFILE.write_text(dockerfile())
    for overlay in sorted(path.parent for path in OVERLAYS.glob("*/settings.yaml")):
        (overlay / "serve-config.yaml").write_text(serve_config(overlay))


if __name__ == "__main__":
    main()

"""Plans from plain data, as a Serve config file carries them in `policy_kwargs`; unknown keys are errors."""

from collections.abc import Mapping
from typing import Any

from serve_app.core import ConfigError
from serve_app.scaling.hold import Pace
from serve_app.scaling.idle import ZeroAims
from serve_app.scaling.need import EngineAims, RequestAims
from serve_app.scaling.policy import NodePlan

_PARTS = {"engine": EngineAims, "requests": RequestAims, "pace": Pace, "zero": ZeroAims}


def read_plans(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, NodePlan]:
    """Deployment name -> plan. Each node names `engine` or `requests`, and what else differs from the defaults.

    >>> read_plans({"Router": {"requests": {"ongoing": 16}}})["Router"].aims
    RequestAims(ongoing=16, per_s=None)

    Raises ConfigError naming the node and the key.
    """
    return {name: _plan(name, dict(node)) for name, node in nodes.items()}


def _plan(name: str, node: dict[str, Any]) -> NodePlan:
    parts: dict[str, Any] = {}
    for key in [key for key in _PARTS if key in node]:
        try:
            parts[key] = _PARTS[key](**node.pop(key))
        except TypeError as error:
            raise ConfigError(f"scaling.{name}.{key}: {error}") from error
    aims = [parts.pop(key) for key in ("engine", "requests") if key in parts]
    if len(aims) != 1:
        raise ConfigError(f"scaling.{name}: give either `engine` or `requests`")
    try:
        plan = NodePlan(aims[0], **parts, **node)
    except TypeError as error:
        raise ConfigError(f"scaling.{name}: {error}") from error
    if plan.fed_by not in ("queries", "escalations"):
        raise ConfigError(f"scaling.{name}.fed_by: {plan.fed_by!r} is neither `queries` nor `escalations`")
    _check(name, plan)
    return plan


def _check(name: str, plan: NodePlan) -> None:
    aims = plan.aims
    above_zero: dict[str, float | None] = {"pace.half_life_s": plan.pace.half_life_s}
    if isinstance(aims, EngineAims):
        keys = ("tokens_per_s", "utilisation", "residence_s", "max_delay_s", "drain_s", "growth", "call_tokens")
        above_zero |= {f"engine.{key}": getattr(aims, key) for key in keys}
    else:
        above_zero |= {"requests.ongoing": aims.ongoing, "requests.per_s": aims.per_s}
    for key, value in above_zero.items():
        if value is not None and value <= 0:
            raise ConfigError(f"scaling.{name}.{key}: {value:g} is not above 0")
    if plan.pace.margin < 0 or plan.zero.idle_s < 0:
        raise ConfigError(f"scaling.{name}: `pace.margin` and `zero.idle_s` are not below 0")

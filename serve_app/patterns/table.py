"""Model name -> pattern, built from the nodes that a graph has."""

from collections.abc import Mapping

from serve_app.config import CascadeSettings, RoutesSettings
from serve_app.core import ModelNotFound, Router
from serve_app.patterns.answerers import Answerer, Node, Single
from serve_app.patterns.control import CascadeControl
from serve_app.patterns.models import Fixed, Pattern, Routed


class PatternTable:
    """The names a gateway serves. Which of them exist follows from which nodes are there:

    | name | needs | does |
    |---|---|---|
    | base, and each adapter | specialists | that adapter, no routing, no escalation |
    | large | fallback | the large model |
    | router | router | routed to an adapter, no escalation |
    | cascade | fallback | the base, escalated by the rule |
    | auto | | all of what is there |
    """

    def __init__(
        self,
        specialists: Node,
        adapters: tuple[str, ...],
        routes: RoutesSettings,
        router: Router | None = None,
        fallback: Node | None = None,
        control: CascadeControl | None = None,
        router_model: str = "router",
    ) -> None:
        """`control` is of a cascade between these specialists and this fallback; `router_model` names the encoder."""
        self._router_model = router_model
        self._small = small = Single(specialists)
        self._router, self._routes, self._control = router, routes, control
        self._patterns: dict[str, Pattern] = {"base": Fixed(small, None)}
        self._patterns |= {name: Fixed(small, name) for name in adapters}
        if fallback:
            self._patterns["large"] = Fixed(Single(fallback), None)
        if router:
            self._patterns["router"] = Routed(small, router, routes, router_model)
        if control:
            self._patterns["cascade"] = Fixed(control.cascade, None)
        self._choose_auto()

    def reconfigure(self, cascade: CascadeSettings) -> None:
        """Take new cascade settings; queries in flight keep the old ones.

        Raises ConfigError, and changes nothing, where the policy or scorer that they name cannot be used.
        """
        if self._control:
            self._control.reconfigure(cascade)
        self._choose_auto()

    def _choose_auto(self) -> None:
        answerer: Answerer = self._control.answerer if self._control else self._small
        if self._router:
            self._patterns["auto"] = Routed(answerer, self._router, self._routes, self._router_model)
        else:
            self._patterns["auto"] = Fixed(answerer, None)

    @property
    def patterns(self) -> Mapping[str, Pattern]:
        """All names and their patterns."""
        return self._patterns

    def find(self, model: str) -> Pattern:
        """The pattern of a model name. Raises ModelNotFound naming what there is."""
        try:
            return self._patterns[model]
        except KeyError:
            known = ", ".join(sorted(self._patterns))
            message = f"The model {model!r} does not exist; choose one of: {known}."
            raise ModelNotFound(message, "model", "model_not_found") from None

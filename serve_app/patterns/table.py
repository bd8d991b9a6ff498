"""Model name -> pattern, built from the nodes that a graph has."""

from collections.abc import Mapping

from serve_app.confidence import ThresholdRule
from serve_app.config import CascadeSettings, RoutesSettings
from serve_app.core import ModelNotFound, Router
from serve_app.patterns.answerers import Answerer, Node, Single
from serve_app.patterns.cascade import Cascade
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
        cascade: CascadeSettings,
        router: Router | None = None,
        fallback: Node | None = None,
    ) -> None:
        small = Single(specialists)
        self._small = small
        self._router, self._routes = router, routes
        self._cascade = Cascade(specialists, fallback, ThresholdRule(cascade)) if fallback else None
        self._patterns: dict[str, Pattern] = {"base": Fixed(small, None)}
        self._patterns |= {name: Fixed(small, name) for name in adapters}
        if fallback:
            self._patterns["large"] = Fixed(Single(fallback), None)
        if router:
            self._patterns["router"] = Routed(small, router, routes)
        if self._cascade:
            self._patterns["cascade"] = Fixed(self._cascade, None)
        self.reconfigure(cascade)

    def reconfigure(self, cascade: CascadeSettings) -> None:
        """Take new cascade settings; queries in flight keep the old ones."""
        if self._cascade:
            self._cascade.rule = ThresholdRule(cascade)
        answerer: Answerer = self._cascade if self._cascade and cascade.enabled else self._small
        self._patterns["auto"] = Routed(answerer, self._router, self._routes) if self._router else Fixed(answerer, None)

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

"""Model name -> pattern, built from the nodes that a graph has."""

from collections.abc import Mapping

from serve_app.config import CascadeSettings, EnsembleSettings, RoutesSettings
from serve_app.core import ConfigError, ModelNotFound, Router
from serve_app.patterns.answerers import Answerer, Node, Single
from serve_app.patterns.control import CascadeControl
from serve_app.patterns.documents import DocumentSearch
from serve_app.patterns.ensemble import LargeModel, ensemble_of
from serve_app.patterns.models import Fixed, Pattern, Routed
from serve_app.patterns.rag import WithPassages


class PatternTable:
    """The names a gateway serves. Which of them exist follows from which nodes are there:

    | name | needs | does |
    |---|---|---|
    | base, and each adapter | specialists | that adapter, no routing, no escalation |
    | large | fallback | the large model |
    | router | router | routed to an adapter, no escalation |
    | cascade | fallback | the base, escalated by the rule |
    | ensemble | settings with members | their answers become one |
    | auto | | all of what is there |
    | rag | retriever | as auto, with passages of `rag.collection` |
    """

    def __init__(
        self,
        specialists: Node,
        routes: RoutesSettings,
        router: Router | None = None,
        fallback: Node | None = None,
        control: CascadeControl | None = None,
        router_model: str = "router",
        search: DocumentSearch | None = None,
        ensemble: EnsembleSettings | None = None,
    ) -> None:
        """`control` is of a cascade between these specialists and this fallback; `router_model` names the encoder.
        `search` is over the graph's retriever. Raises ConfigError where it shall escalate and there is no large model.

        The adapters are those of `specialists`, whichever there are when a query comes.
        Raises ConfigError where the ensemble needs a node that is not there.
        """
        self._router_model = router_model
        self._specialists, self._fallback = specialists, fallback
        self._ensemble = ensemble if ensemble is not None and ensemble.enabled else None
        self.adapters = specialists.adapters
        self.routes = routes
        self._small = small = Single(specialists)
        self._router, self._control, self._search = router, control, search
        if search and search.settings.when_weak == "escalate" and control is None:
            raise ConfigError("rag.when_weak is escalate, and this graph has no fallback: choose answer or abstain.")
        self._reserved: dict[str, Pattern] = {"base": Fixed(small, None)}
        if fallback:
            self._reserved["large"] = Fixed(Single(fallback), None)
        if control:
            self._reserved["cascade"] = Fixed(control.cascade, None)
        self._route()

    def reconfigure(self, cascade: CascadeSettings) -> None:
        """Take new cascade settings; queries in flight keep the old ones.

        Raises ConfigError, and changes nothing, where the policy or scorer that they name cannot be used.
        """
        if self._control:
            self._control.reconfigure(cascade)
        self._route()

    def reroute(self, routes: RoutesSettings) -> None:
        """Take new routes; queries in flight keep the old ones. They may name adapters that are not there yet."""
        self.routes = routes
        self._route()

    def _route(self) -> None:
        answerer: Answerer = self._control.answerer if self._control else self._small
        by_label = self._ensembles()
        auto = self._reserved["auto"] = self._auto(answerer, by_label)
        if self._router:
            self._reserved["router"] = self._routed(self._small, {})
        if self._search:
            escalating = self._auto(self._control.cascade, {}) if self._control else None
            self._reserved["rag"] = WithPassages(auto, self._search, escalating)
            if collections := self._search.settings.routes:
                self._reserved["auto"] = WithPassages(auto, self._search, escalating, collections)

    def _auto(self, answerer: Answerer, by_label: Mapping[str, Answerer]) -> Pattern:
        return self._routed(answerer, by_label) if self._router else Fixed(answerer, None)

    def _ensembles(self) -> Mapping[str, Answerer]:
        """Make the model `ensemble`; what it returns are the labels that the ensemble answers under `auto`."""
        settings, control = self._ensemble, self._control
        if settings is None:
            return {}
        if settings.strategy == "soft_routing" and self._router is None:
            raise ConfigError(
                "ensemble.strategy is `soft_routing`, and this graph has no router: choose another, or serve a graph "
                "that has one."
            )
        large = None
        if self._fallback:
            guarded = (control.guard, lambda: control.when_failed) if control else ()
            large = LargeModel(self._fallback, *guarded)
        policy_of = (lambda: control.policy) if control else (lambda: None)
        found = ensemble_of(settings, self.routes, self._specialists, self._fallback, large, policy_of)
        soft = settings.strategy == "soft_routing"
        self._reserved["ensemble"] = self._routed(found, {}) if soft else Fixed(found, None)
        return dict.fromkeys(settings.routes, found)

    def _routed(self, answerer: Answerer, by_label: Mapping[str, Answerer]) -> Routed:
        assert self._router is not None
        return Routed(answerer, self._router, self.routes, self.adapters, self._router_model, by_label)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, the graph's own first."""
        return (*self._reserved, *self.adapters.names)

    def find(self, model: str) -> Pattern:
        """The pattern of a model name. Raises ModelNotFound naming what there is."""
        if model in self._reserved:
            return self._reserved[model]
        if model in self.adapters.names:
            return Fixed(self._small, model)
        known = ", ".join(sorted(self.names))
        message = f"The model {model!r} does not exist; choose one of: {known}."
        raise ModelNotFound(message, "model", "model_not_found")

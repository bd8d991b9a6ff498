"""Adapters in a gateway: it follows the registry, lets admin keys change it over HTTP, and compares canaries."""

from serve_app.gateway.adapters.book import AdapterBook
from serve_app.gateway.adapters.canaries import Canaries
from serve_app.gateway.adapters.publish import Publisher
from serve_app.gateway.adapters.routing import RoutingBook

__all__ = ["AdapterBook", "Canaries", "Publisher", "RoutingBook"]

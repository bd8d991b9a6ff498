"""Where a server's API begins."""

from serve_app.core import ConfigError

_PATHS = ("/chat/completions", "/completions", "/models")


def api_root(url: str) -> str:
    """The address that `/chat/completions`, `/models` and their kin are appended to. Raises ConfigError.

    >>> api_root("http://127.0.0.1:8000"), api_root("https://host/v1/chat/completions"), api_root("https://host/v1beta/")
    ('http://127.0.0.1:8000/v1', 'https://host/v1', 'https://host/v1beta')
    """
    import httpx

    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"The address of the endpoint cannot be read: {error}.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError("An endpoint's address begins with http:// or https:// and names a host.")
    if parsed.userinfo or parsed.query:
        raise ConfigError("An endpoint's address may hold no user, password or query; name the key's variable.")
    path = parsed.path.rstrip("/")
    for ending in _PATHS:
        path = path.removesuffix(ending)
    return str(parsed.copy_with(path=path or "/v1", fragment=None))

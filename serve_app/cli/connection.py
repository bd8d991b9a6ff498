"""What a server that cannot be asked is to whoever asked it: one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from serve_app.core import HeadraceError

DEFAULT_URL = "http://127.0.0.1:8000"
CONNECT_TIMEOUT_S = 5.0


def server_root(url: str) -> str:
    """A server's address without `/v1`. Raises typer.BadParameter where a password stands in it: keys have options."""
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise typer.BadParameter("the address holds a user or a password, which Headrace does not take; use --key")
    return url.rstrip("/").removesuffix("/v1")


@contextmanager
def connected(url: str, when_broken: str) -> Iterator[None]:
    """Around requests of httpx to `url`. `when_broken` ends the sentence about a connection that broke.

    Raises HeadraceError, and typer.BadParameter for what is no address. Only requests belong inside.
    """
    import httpx

    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise HeadraceError(
            f"No server answers at {url}; start one with `make serve`, or name it with --url."
        ) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise typer.BadParameter(f"{url!r} is no address of a server; write http://HOST:PORT.") from error
    except (ImportError, ValueError) as error:  # httpx, of SOCKS, or of a kind that it does not know
        if isinstance(error, ValueError) and "proxy" not in str(error).lower():
            raise
        raise HeadraceError(
            f"A proxy of the environment cannot be used ({error}); unset ALL_PROXY and its like, or name an HTTP proxy."
        ) from error
    except httpx.HTTPError as error:
        raise HeadraceError(f"The connection to {url} broke{when_broken}") from error

"""Brings a model folder from the Hugging Face hub, at a fixed revision; only weights, configuration and tokenizer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

from serve_app.core import CatalogueError

PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.txt", "LICENSE"]
"""No code and no pickled weights are ever fetched."""


class Snapshot(Protocol):
    """Downloads a hub repository."""

    def __call__(self, repository: str, revision: str, folder: Path) -> None:
        """Fill `folder`; files already there are not fetched again. Raises CatalogueError."""
        ...


def hub_snapshot(repository: str, revision: str, folder: Path) -> None:
    """`huggingface_hub.snapshot_download`, its errors in one sentence."""
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    what = f"{repository}@{revision}"
    try:
        snapshot_download(repository, revision=revision, local_dir=folder, allow_patterns=PATTERNS)
    except GatedRepoError as error:
        raise CatalogueError(
            f"{what} is gated: accept its terms on the hub and log in with `hf auth login`."
        ) from error
    except RepositoryNotFoundError as error:
        raise CatalogueError(
            f"The hub has no {repository}, or you may not see it: check the entry's source."
        ) from error
    except RevisionNotFoundError as error:
        raise CatalogueError(f"{repository} has no revision {revision}: check the entry's source.") from error
    except (LocalEntryNotFoundError, httpx.TransportError) as error:
        raise CatalogueError(
            f"The hub cannot be reached to download {what}: check the network and try again."
        ) from error
    except HfHubHTTPError as error:
        raise CatalogueError(
            f"The hub refused {what} (status {error.response.status_code}): try again later."
        ) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the hub's own bookkeeping

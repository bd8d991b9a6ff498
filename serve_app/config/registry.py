"""Where adapters' files are kept, and how replicas follow what the registry says."""

from pydantic import Field

from serve_app.config.section import Section


class RegistrySettings(Section):
    """The adapter registry: its tables lie in the ledger's database, the adapters' files in an artefact store."""

    store: str | None = Field(
        None,
        description="Where adapters' files are kept: a folder, or a URI that fsspec knows, as `s3://BUCKET/PREFIX` "
        "(extra `s3`) or `gs://BUCKET/PREFIX` (extra `gcs`). One per database; on several nodes a place that all of "
        "them reach. Unset: beside the SQLite file, or in the user's state folder.",
    )
    max_adapter_mb: int = Field(512, ge=1, le=2048, description="Largest adapter, its files together, in MiB.")
    cache_mb: int = Field(
        4096,
        ge=1,
        description="Room for copies of adapters on a node, in MiB. The least recently used go first; those that are "
        "served stay, and may take more.",
    )
    follow_s: float = Field(0.5, gt=0, le=60, description="How often gateways and engines ask for changes, in seconds.")
    drop_after_s: float = Field(
        30.0,
        ge=0,
        description="How long an engine can still load a version that is served no more, in seconds: gateways that "
        "have not heard of it may ask for it.",
    )
    retention_days: int | None = Field(
        30,
        ge=1,
        description="Days after which the files of a retired version are deleted from the store, but for the one that "
        "a rollback goes back to. Unset: never.",
    )

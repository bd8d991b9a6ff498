"""What `headrace check` holds a deployment to."""

from pydantic import Field, SecretStr

from serve_app.config.section import Section


class DataFiles(Section):
    """The files that an adapter or the router was made from."""

    train: str = Field(description="JSONL file of training rows.")
    test: str | None = Field(None, description="JSONL file of held-out rows. Unset: leakage cannot be looked for.")
    licence: str | None = Field(None, description="Under which the rows may be used for this.")


class MachineSettings(Section):
    """A kind of machine that the cluster has."""

    num_cpus: float = Field(gt=0, description="CPU cores that it gives to replicas.")
    num_gpus: float = Field(0, ge=0, description="GPUs that it gives to replicas.")


class ChecklistSettings(Section):
    """Bounds of the production checklist, and where its evidence lies."""

    records: str = Field(
        "headrace-records",
        description="Folder of what was done and measured: load tests, chaos runs, backups, rehearsals "
        "(`headrace record`).",
    )
    data: dict[str, DataFiles] = Field(
        default_factory=dict, description="Adapter name, or `router`, -> the files that it was made from."
    )
    machines: tuple[MachineSettings, ...] = Field(
        (), description="Kinds of machine that replicas may lie on. None: nobody can say whether they fit."
    )
    prometheus_url: str | None = Field(None, description="Of the Prometheus that collects the figures.")
    grafana_url: str | None = Field(None, description="Of the Grafana that shows them.")
    grafana_token: SecretStr | None = Field(
        None,
        description="Of a service account there that may view dashboards. Unset: it is asked as anybody.",
    )
    max_calibration_days: float = Field(90, gt=0, description="Oldest calibration of the cascade.")
    max_record_days: float = Field(90, gt=0, description="Oldest load test, chaos run or rehearsal that counts.")
    max_backup_days: float = Field(2, gt=0, description="Oldest backup of the ledger.")
    max_price_days: float = Field(180, gt=0, description="Oldest price version that counts as fresh.")
    min_router_accuracy: float = Field(0.9, ge=0, le=1, description="On held-out queries of the router's card.")
    min_router_accuracy_ood: float = Field(0.8, ge=0, le=1, description="On sources that it was not trained on.")
    saved_target: float = Field(0.6, ge=0, le=1, description="Share of the always-large bill that should be saved.")
    first_text_slo_s: float = Field(2.0, gt=0, description="Seconds to the first text that a load test should keep.")

"""The fields of KubeRay's RayService that deploy/kuberay uses, after the API reference of KubeRay v1.7.0.

Other fields are errors. Pod templates are left to Kubernetes' own schemas.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Template = dict[str, Any]


class Part(BaseModel):
    """No unknown field, no number for a text."""

    model_config = ConfigDict(extra="forbid", strict=True)


class UpgradeOptions(Part):
    """ClusterUpgradeOptions."""

    gatewayClassName: str
    maxSurgePercent: int = Field(ge=1, le=100)
    stepSizePercent: int = Field(ge=1, le=100)
    intervalSeconds: int = Field(ge=1)


class UpgradeStrategy(Part):
    """RayServiceUpgradeStrategy."""

    type: Literal["NewCluster", "NewClusterWithIncrementalUpgrade", "None"]
    clusterUpgradeOptions: UpgradeOptions | None = None


class AuthOptions(Part):
    """AuthOptions."""

    mode: Literal["disabled", "token"]
    secretName: str | None = None


class AutoscalerOptions(Part):
    """AutoscalerOptions."""

    version: Literal["v1", "v2"]
    idleTimeoutSeconds: int
    upscalingMode: Literal["Default", "Aggressive", "Conservative"]
    resources: dict[str, dict[str, str]]
    securityContext: dict[str, Any]


class Credential(Part):
    """RedisCredential."""

    valueFrom: dict[str, dict[str, str]] | None = None
    value: str | None = None


class FaultTolerance(Part):
    """GcsFaultToleranceOptions."""

    redisAddress: str
    redisPassword: Credential
    redisUsername: Credential | None = None
    externalStorageNamespace: str | None = None


class HeadGroup(Part):
    """HeadGroupSpec."""

    rayStartParams: dict[str, str]
    labels: dict[str, str]
    template: Template


class WorkerGroup(Part):
    """WorkerGroupSpec."""

    groupName: str
    replicas: int
    minReplicas: int
    maxReplicas: int
    rayStartParams: dict[str, str]
    labels: dict[str, str]
    template: Template


class RayCluster(Part):
    """RayClusterSpec."""

    rayVersion: str
    authOptions: AuthOptions
    enableInTreeAutoscaling: bool
    autoscalerOptions: AutoscalerOptions
    gcsFaultToleranceOptions: FaultTolerance | None = None
    headGroupSpec: HeadGroup
    workerGroupSpecs: list[WorkerGroup]

    def pods(self) -> dict[str, Template]:
        """The pod template of each group."""
        return {"head": self.headGroupSpec.template} | {one.groupName: one.template for one in self.workerGroupSpecs}


class RayServiceSpec(Part):
    """RayServiceSpec."""

    upgradeStrategy: UpgradeStrategy
    rayClusterDeletionDelaySeconds: int = Field(ge=0)
    excludeHeadPodFromServeSvc: bool
    rayClusterConfig: RayCluster
    serveConfigV2: str

"""Run as a program: connects to a running graph's Ray and prints, per deployment, how late its loop was at worst.

python handle_client.py RAY_ADDRESS SECONDS
"""

import asyncio
import json
import os
import sys

from serve_app.deployments.switches import every_node


async def lags(app: str, seconds: float) -> dict[str, float]:
    from ray import serve

    names = list(serve.status().applications[app].deployments)
    handles = [serve.get_deployment_handle(name, app) for name in names]
    worst = await asyncio.gather(*(handle.loop_lag_ms.remote(seconds) for handle in handles))
    return dict(zip(names, worst, strict=True))


def main() -> None:
    os.environ |= every_node() | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
    import ray

    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
    print(json.dumps(asyncio.run(lags("headrace", float(sys.argv[2])))))
    ray.shutdown()


if __name__ == "__main__":
    main()

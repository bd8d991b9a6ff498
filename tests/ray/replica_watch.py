"""Run as a program: connects to a running graph's Ray and prints the states of its replicas each time they change.

python replica_watch.py RAY_ADDRESS      one JSON object a line: {"Fallback": {"STARTING": 1}, ...}; until it is killed
"""

import json
import os
import sys
import time

from serve_app.deployments.switches import every_node

_EVERY_S = 0.1


def main() -> None:
    os.environ |= every_node() | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
    import ray
    from ray import serve

    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
    told = None
    while True:
        deployments = serve.status().applications["headrace"].deployments
        now = {name: dict(status.replica_states) for name, status in deployments.items()}
        if now != told:
            print(json.dumps(now), flush=True)
            told = now
        time.sleep(_EVERY_S)


if __name__ == "__main__":
    main()

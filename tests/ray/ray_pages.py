"""Run as a program: connects to a running graph's Ray and prints the addresses of its nodes' metrics pages.

python ray_pages.py RAY_ADDRESS
"""

import json
import os
import sys

from serve_app.deployments.switches import every_node


def main() -> None:
    os.environ |= every_node() | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
    import ray

    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
    print(json.dumps([f"http://{n['NodeManagerAddress']}:{n['MetricsExportPort']}/metrics" for n in ray.nodes()]))
    ray.shutdown()


if __name__ == "__main__":
    main()

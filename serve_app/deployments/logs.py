"""What our packages log, in the replica's own log file, with its level and as it comes."""

import logging

REPLICA_LOG = logging.getLogger("ray.serve")
_OURS = ("serve_app", "headrace")


def log_to_replica() -> None:
    """Call it in every replica's constructor: Serve has handlers for its own logger only."""
    for name in _OURS:
        logging.getLogger(name).parent = REPLICA_LOG

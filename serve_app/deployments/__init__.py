"""Headrace on Ray Serve: thin shims around plain objects, handles that look like the plain objects, and the launcher.

    bind.py         settings to bound deployments, for graphs/; paths.py makes paths absolute before they are sent
    gateway.py, engine.py, router.py, retriever.py, ledger.py     what runs in a replica, with
        loopback.py, logs.py, lag.py, background.py, ray_metrics.py   what all of them do
        metered.py, probe.py, cold.py     of the gateway: what it tells Serve, and asks of the other nodes
        following.py                      of an engine: the adapters that the registry has
        ingest.py                         of the retriever: documents are taken in by tasks
        orphans.py, drainer.py, provisioned.py   of the ledger: journals of dead gateways, replicas counted
    handles.py      the protocols of core over Serve handles, with documents.py, adapters.py and routing.py (which hold
                    the ledger's side of their calls too); results.py and errors.py: what comes back
    affinity.py     to which replica a call goes, and scaling.py: how many there are, when Serve asks
    launch.py       `headrace serve`, with stack.py (a Ray of our own), switches.py (what Ray reads from the
                    environment), haproxy.py, interpreters.py and reports.py

Knows Ray; knows nothing about routing, prices or text. With `graphs/` the only place that imports ray.
"""

"""Many adapters on several replicas: calls placed by adapter beside Serve's own way, with real replicas and simulated.

    python -m bench.affinity [--quick] [--json FILE]      writes bench/results/affinity.json

1. `live`: two deployments of two replicas each with the local engine, one thread a replica, the same 200 adapters
   (rank 8, random weights) and 32 slots. One is routed by adapter, the other by Serve's power of two choices. They take
   turns: calls arrive by chance (Poisson), their adapters by popularity (Zipf), the same calls for both. The hit rate
   is the share of calls for which no adapter had to be loaded.
2. `overhead`: what the router adds to a call, with scripted engines, the two ways in turn.
3. `simulate`: three and eight replicas, 200 and 1000 adapters, the popular ones changing, a replica lost; with the time
   that 1. took to load an adapter.

What limits the figures: clients and all replicas share the cores of one machine, so times of 1. are long and hit rates
the better measure; there is one gateway's handle in 1. and there are two gateways in 3.
"""

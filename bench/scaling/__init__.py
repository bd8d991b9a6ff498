"""The parts of `bench.autoscale_sim`: traces, simulated nodes, policies, one run."""

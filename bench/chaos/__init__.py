"""Parts of `bench.ledger_chaos`: a graph to be hurt, clients that keep books of their own, and the comparison."""

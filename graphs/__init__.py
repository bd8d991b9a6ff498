"""One file per deployment graph; each only binds deployments, and has Serve configs (YAML) beside it."""

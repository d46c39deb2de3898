"""How agents that Molecule runs are started, watched and stopped: backends, their environment, the reconciler."""

"""The supervisor process: leadership, background jobs, retention, and the heartbeats of processes."""

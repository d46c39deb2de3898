"""How background jobs run: leader election, the row of each job, retention, the web process's own heartbeat."""

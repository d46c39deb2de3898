"""How background jobs run: who leads, the row of each job, retention, the web's own heartbeat."""

"""Who is alive: heartbeats, leases and their expiry, flapping."""

"""What agents report, and calls to agents' URLs."""

"""Verbs on chosen workspaces and their teams: which there are, what they affect, and the confirmation."""

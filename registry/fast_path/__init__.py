"""Heartbeats, activity and discovery, answered before Django sees the request."""

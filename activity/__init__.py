"""The event log, the activity log and their publication: bus, hub, WebSocket streams, cache versions. It knows no
workspaces. What all apps share is here too: base classes of REST views, group commit, strict JSON, the Redis client."""

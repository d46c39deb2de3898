"""The operations that change the organisation, and its readers: workspaces, teams, agents, discovery, audiences."""

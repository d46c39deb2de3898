"""REST of the registry: for agents, for operators who run teams, and for who may talk to whom."""

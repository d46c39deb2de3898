"""How agents are reached, and what they report."""

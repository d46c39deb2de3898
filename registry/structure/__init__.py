"""The hierarchy: rows and their locks, the rules of access, what each event means, history."""

"""The hierarchy as facts and rules: rows and their locks, access, what each event means, history."""

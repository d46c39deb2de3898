"""The org chart as facts and rules: rows and their locks, hierarchy, access, and what each event means."""

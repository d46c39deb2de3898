"""What an agent is made of: its files with their earlier contents, its own settings; templates, bundles, org templates.

May import organisation and what is below it. Contents stay in the tables here: events name hashes only."""

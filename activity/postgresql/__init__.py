"""The database engine in settings.DATABASES."""

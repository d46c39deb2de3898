"""REST views of the registry, their serializers, and the HTTP status of each error."""

"""The addresses of verbs: each has a page that asks, and acts on POST."""

from django.urls import reverse

from registry.organisation.verbs import Verb


def verb_url(verb: Verb) -> str:
    """The page of the verb, for the workspaces in its parameters `id`."""
    return reverse(f"admin:registry_workspace_{verb.name}")

"""Addresses that many pages have, or that one page has many times."""

from functools import cache

from django.urls import get_script_prefix, reverse


def address(route: str, *args: str) -> str:
    """What reverse() returns, kept for the next time. For fixed arguments only: each combination is kept."""
    return _address(route, args, get_script_prefix())


@cache
def _address(route: str, args: tuple[str, ...], prefix: str) -> str:
    """`prefix`: below which Molecule is served; reverse() adds it."""
    return reverse(route, args=args)

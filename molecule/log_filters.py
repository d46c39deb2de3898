"""Filters for the log records of Django."""

import logging


class RoutesForPaths(logging.Filter):
    """Replaces the path of a request by its route, as a path may contain a secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        path = getattr(request, "path", None)
        if path is not None and isinstance(record.args, tuple):
            match = getattr(request, "resolver_match", None)
            route = match.route if match else "(no route)"
            # Django escapes what it logs.
            paths = (path, path.encode("unicode_escape").decode("ascii"))
            record.args = tuple(route if argument in paths else argument for argument in record.args)
        return True

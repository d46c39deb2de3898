"""The scripts of a page, as production serves them."""

import gzip
import posixpath
import re
from pathlib import PurePath

from molecule.staticfiles import minified
from tests.e2e.stack import ROOT

IMPORT = re.compile(r'^(?:import|export)\b[^"]*"(\.[^"]+)";|\bimport\("(\.[^"]+)"\)', re.MULTILINE)


def sizes(first: str, *, with_later: bool = True) -> dict[str, int]:
    """The bytes of a module and of all that it imports, at once or also later, each compressed by itself."""
    found: dict[str, int] = {}
    wanted = [first]
    while wanted:
        if (name := wanted.pop()) in found:
            continue
        [path] = ROOT.glob(f"*/static/{name}")
        script = path.read_text()
        found[name] = len(gzip.compress(minified(script).encode()))
        for at_once, later in IMPORT.findall(script):
            if at_once or with_later:
                wanted.append(posixpath.normpath(PurePath(name).parent / (at_once or later)))
    return found

"""Static files in production: small, compressed, and named by a hash of their content, in ES module imports too."""

from pathlib import PurePath

import minify
from django.core.files import File
from django.core.files.base import ContentFile
from whitenoise.storage import CompressedManifestStaticFilesStorage

# The folders of our own scripts: those of others are served as they came.
OWN = {"canvas", "registry", "ui"}


class ModuleStaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Serves our scripts without comments and indentation.

    Rewrites imports between ES modules, so a cached module never imports a newer one.
    """

    support_js_module_import_aggregation = True

    def _save(self, name: str, content: "File[bytes]") -> str:
        path = PurePath(name)
        if path.suffix == ".js" and path.parts[0] in OWN:
            content.seek(0)
            content = ContentFile(minified(content.read().decode()).encode())
        saved: str = super()._save(name, content)
        return saved


def minified(script: str) -> str:
    """The script without comments and unneeded space, with short names inside of functions.

    Raises ValueError if it cannot be parsed.
    """
    return str(minify.string("application/javascript", script))

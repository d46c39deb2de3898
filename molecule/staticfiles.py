"""Static files in production: compressed, named by their content, ES modules' imports included."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleStaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Without this an old module could import a new one for as long as caches last."""

    support_js_module_import_aggregation = True

"""Static files in production: compressed and named by a hash of their content, also inside ES module imports."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleStaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Rewrites imports between ES modules, so a cached module never imports a newer one."""

    support_js_module_import_aggregation = True

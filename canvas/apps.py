"""The Django app: it stores the places that bundles contain."""

from importlib import import_module

from django.apps import AppConfig

from registry.config import layouts


class CanvasConfig(AppConfig):
    name = "canvas"

    def ready(self) -> None:
        """By name, because the module needs models, which exist only now."""
        layouts.use(import_module("canvas.layout"))

"""Give administrators the permission to reveal secrets. It is created here first, as in 0001_groups."""

from django.contrib.auth.management import create_permissions
from django.db import migrations


def create_and_grant(apps, schema_editor):
    config = apps.get_app_config("registry")
    config.models_module = True
    create_permissions(config, apps=apps, verbosity=0)
    config.models_module = None
    grant(apps)


def grant(apps):
    """Give the permission to the group of administrators, if it exists."""
    permission = apps.get_model("auth", "Permission").objects.get(codename="reveal_secrets")
    for group in apps.get_model("auth", "Group").objects.filter(name="administrators"):
        group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [
        ("molecule", "0001_groups"),
        ("registry", "0010_may_reveal"),
    ]

    operations = [migrations.RunPython(create_and_grant, migrations.RunPython.noop)]

"""The three groups of operators. Permissions are made here first, as Django makes them only after all migrations."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

LOOK = {"registry": "view", "activity": "view"}
GROUPS = {
    "viewers": [],
    "operators": ["add_workspace", "change_workspace", "add_agent", "change_agent"],
    "administrators": [
        "add_workspace", "change_workspace", "add_agent", "change_agent",
        "add_workspacesecret", "change_workspacesecret", "delete_workspacesecret",
        "add_globalsecret", "change_globalsecret", "delete_globalsecret",
        "add_workspacetoken", "change_workspacetoken", "delete_workspacetoken",
        "add_operatortoken", "change_operatortoken", "delete_operatortoken",
        "view_user", "add_user", "change_user", "delete_user", "view_group", "change_group",
    ],
}  # fmt: skip
# Only administrators see how people and scripts get in.
HIDDEN = ("view_operatortoken", "view_secretaccess")


def create_permissions_and_groups(apps, schema_editor):
    for label in ("registry", "activity", "auth"):
        config = apps.get_app_config(label)
        config.models_module = True
        create_permissions(config, apps=apps, verbosity=0)
        config.models_module = None
    create_groups(apps)


def create_groups(apps):
    """Create the groups, or give them the permissions that they lack."""
    permission = apps.get_model("auth", "Permission")
    looking = permission.objects.filter(content_type__app_label__in=LOOK, codename__startswith="view_")
    for name, codenames in GROUPS.items():
        group, _created = apps.get_model("auth", "Group").objects.get_or_create(name=name)
        everyday = looking if name == "administrators" else looking.exclude(codename__in=HIDDEN)
        group.permissions.add(*everyday, *permission.objects.filter(codename__in=codenames))


class Migration(migrations.Migration):
    dependencies = [
        ("activity", "0001_initial"),
        ("registry", "0003_secretaccess"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [migrations.RunPython(create_permissions_and_groups, migrations.RunPython.noop)]

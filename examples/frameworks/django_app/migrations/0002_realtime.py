from django.db import migrations

import flowcraft.adapters.django.migrations


class Migration(migrations.Migration):
    dependencies = [
        ("shop", "0001_initial"),
    ]

    operations = [
        flowcraft.adapters.django.migrations.RealtimeLog(
            version=8,
            previous=0,
        ),
        flowcraft.adapters.django.migrations.RealtimeTriggers(
            source={
                "channel": "item_update",
                "table": "items",
                "event": "ItemUpdate",
                "on": ["insert", "update"],
                "tag_field": "type",
                "tag": "ItemUpdate",
                "gone": True,
                "moves": True,
                "fields": [
                    {"column": "id", "name": "item_id", "takes": "integer"},
                    {"name": "stock", "takes": "integer"},
                ],
            },
            previous=None,
        ),
    ]

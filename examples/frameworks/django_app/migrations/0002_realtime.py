from django.db import migrations

import flowcraft.adapters.django.migrations


class Migration(migrations.Migration):
    dependencies = [
        ("shop", "0001_initial"),
    ]

    operations = [
        flowcraft.adapters.django.migrations.RealtimeLog(
            version=4,
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
                "fields": [{"column": "id", "name": "item_id"}, "stock"],
            },
            previous=None,
        ),
    ]

"""Django: an app with migration operations, a command that writes migrations, and system checks.

In the settings:

    INSTALLED_APPS = [..., "flowcraft.adapters.django"]
    FLOWCRAFT_CHANNELS = "shop.realtime.channels"
"""

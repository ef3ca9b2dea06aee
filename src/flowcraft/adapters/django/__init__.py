"""Django: an application with operations for migrations, a command that writes them, and checks.

In the settings:

    INSTALLED_APPS = [..., "flowcraft.adapters.django"]
    FLOWCRAFT_CHANNELS = "shop.realtime.channels"
"""

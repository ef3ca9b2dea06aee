"""The settings of Django."""

from __future__ import annotations

import os

from psycopg.conninfo import conninfo_to_dict

_database = conninfo_to_dict(os.environ["DATABASE_URL"])

SECRET_KEY = os.environ.get("SECRET_KEY", "only for trying it")
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "examples.frameworks.django_app.views"
INSTALLED_APPS = ["flowcraft.adapters.django", "examples.frameworks.django_app.apps.Shop"]
FLOWCRAFT_CHANNELS = "examples.frameworks.django_app.realtime.channels"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.get("dbname", ""),
        "USER": _database.get("user", ""),
        "PASSWORD": _database.get("password", ""),
        "HOST": _database.get("host", ""),
        "PORT": _database.get("port", ""),
    }
}

"""The application: Django, and the WebSocket at `/realtime`."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

from examples.frameworks.django_app.realtime import realtime

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.frameworks.django_app.settings")
app = realtime.asgi(get_asgi_application())

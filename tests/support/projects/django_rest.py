"""Django with its REST framework, as `startproject` writes it, and React in JavaScript on Vite."""

from __future__ import annotations

from tests.support.journeys import ITEM
from tests.support.projects import WRITES_ITEMS, Project

SETTINGS = """\
from config.defaults import *  # noqa: F403

ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "shop",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "<name>",
        "USER": "<user>",
        "PASSWORD": "",
        "HOST": "<host>",
        "OPTIONS": {"connect_timeout": 5},
    }
}
"""
VIEWS = """\
from rest_framework import serializers, viewsets

from shop.models import Item


class ItemSerializer(serializers.ModelSerializer):
    class Meta:
        model = Item
        fields = ["id", "owner_id", "title"]


class ItemViewSet(viewsets.ModelViewSet):
    queryset = Item.objects.all()
    serializer_class = ItemSerializer
"""
URLS = """\
from django.contrib import admin
from django.urls import include, path
from rest_framework import routers

from shop.views import ItemViewSet

router = routers.DefaultRouter()
router.register("items", ItemViewSet)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include(router.urls)),
]
"""
TESTS = """\
from django.test import TestCase

from shop.models import Item


class ItemTests(TestCase):
    def test_items_are_listed(self):
        Item.objects.create(owner_id=7, title="lamp")
        self.assertEqual(self.client.get("/api/items/").json()[0]["title"], "lamp")
"""
VITE = """\
import react from "@vitejs/plugin-react"
import { defineConfig } from "vite"

export default defineConfig({
  plugins: [react()],
  server: {
    proxy: {
      "/api": "http://localhost:8000",
    },
  },
})
"""
APP = """\
import { Items } from "./Items"

export default function App() {
  return <Items />
}
"""
DJANGO_REST = Project(
    (
        "django-admin startproject config .",
        "python manage.py startapp shop",
        "mv config/settings.py config/defaults.py",
        "npm create -y vite@latest frontend -- --template react --no-interactive",
    ),
    {
        "config/settings.py": SETTINGS,
        "config/urls.py": URLS,
        "shop/models.py": ITEM,
        "shop/views.py": VIEWS,
        "shop/tests.py": TESTS,
        "requirements.txt": "Django>=5.2\ndjangorestframework>=3.16\npsycopg[binary]>=3.2\n",
        "frontend/vite.config.js": VITE,
        "frontend/src/App.jsx": "export default function App() {\n  return <p>shop</p>\n}\n",
    },
    "config.asgi:application",
    ("python manage.py makemigrations shop", "python manage.py migrate"),
    web="frontend",
    page={"frontend/src/Items.jsx": WRITES_ITEMS, "frontend/src/App.jsx": APP},
    tests="python manage.py test",
    tidy=("npx oxlint",),
    environment={},
)

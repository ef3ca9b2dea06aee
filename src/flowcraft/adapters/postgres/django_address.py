"""Django address: that of the default database in the settings of Django, for a process that uses Django."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

_PASSED_ON = (
    "options", "passfile", "sslcert", "sslcrl", "sslkey", "sslmode", "sslrootcert", "target_session_attrs",
)  # fmt: skip


def django_address() -> str | None:
    """Return the address of `DATABASES["default"]`; None without Django, or if it is no PostgreSQL.

    Only where something else has imported Django and named its settings: nothing is set up here.
    """
    if "django" not in sys.modules or not os.environ.get("DJANGO_SETTINGS_MODULE"):
        return None
    settings: Any = importlib.import_module("django.conf").settings
    databases: Mapping[str, Mapping[str, Any]] = getattr(settings, "DATABASES", {})
    return address_of_settings(databases.get("default", {}))


def address_of_settings(database: Mapping[str, Any]) -> str | None:
    """Return the address of one of Django's `DATABASES`; None if it is no PostgreSQL."""
    engine, name = str(database.get("ENGINE", "")), str(database.get("NAME") or "")
    if not any(word in engine for word in ("postg", "psql")) or not name:
        return None
    user, password = str(database.get("USER") or ""), str(database.get("PASSWORD") or "")
    host, port = str(database.get("HOST") or ""), str(database.get("PORT") or "")
    options: Mapping[str, Any] = database.get("OPTIONS") or {}
    query = {key: str(options[key]) for key in _PASSED_ON if options.get(key) is not None}
    if host.startswith("/"):  # the folder of a Unix socket
        query = {"host": host, **({"port": port} if port else {}), **query}
        host = port = ""
    elif ":" in host and not host.startswith("["):
        host = f"[{host}]"
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    place = f"{login}{'@' if login else ''}{host}{':' if port else ''}{port}"
    return f"postgresql://{place}/{quote(name, safe='')}{'?' if query else ''}{urlencode(query)}"

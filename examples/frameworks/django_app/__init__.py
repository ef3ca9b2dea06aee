"""Django with its ORM: what a view commits, every subscribed browser hears.

DATABASE_URL=postgresql://localhost/shop DJANGO_SETTINGS_MODULE=examples.frameworks.django_app.settings

django-admin migrate && uvicorn examples.frameworks.django_app.asgi:app
"""

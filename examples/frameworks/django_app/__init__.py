"""Django with its ORM: every subscribed browser receives what a view commits.

DATABASE_URL=postgresql://localhost/shop DJANGO_SETTINGS_MODULE=examples.frameworks.django_app.settings

django-admin migrate && uvicorn examples.frameworks.django_app.asgi:app
"""

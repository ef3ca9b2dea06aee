"""What is stored."""

from __future__ import annotations

from django.db import models


class Item(models.Model):
    """Something to sell."""

    stock: models.IntegerField[int, int] = models.IntegerField()

    class Meta:
        """Its table."""

        db_table = "items"

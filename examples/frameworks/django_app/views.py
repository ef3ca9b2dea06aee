"""The views, and their addresses."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from examples.frameworks.django_app.models import Item


@require_GET
@transaction.atomic
def items(_: HttpRequest) -> JsonResponse:
    """The state, and the cursor after it in the same view of the database: a page subscribes since that."""
    with connection.cursor() as cursor:
        cursor.execute("set transaction isolation level repeatable read")
        rows = list(Item.objects.order_by("id").values("id", "stock"))
        cursor.execute("select flowcraft.cursor()")
        (position,) = cursor.fetchone() or (None,)
    return JsonResponse(
        {"items": [{"item_id": row["id"], "stock": row["stock"]} for row in rows], "cursor": position}
    )


@require_http_methods(["PUT"])
@transaction.atomic
def put(request: HttpRequest, item_id: int) -> HttpResponse:
    """Set the stock of an item."""
    Item.objects.update_or_create(id=item_id, defaults={"stock": int(request.GET["stock"])})
    return HttpResponse()


class TooMany(Exception):
    """There are not that many."""


@require_POST
async def take(request: HttpRequest, item_id: int) -> HttpResponse:
    """Take some away. A transaction of Django is synchronous: an asynchronous view calls a function."""
    try:
        await sync_to_async(_take)(item_id, int(request.GET["count"]))
    except TooMany:
        return HttpResponse("there are not that many", status=409)
    return HttpResponse()


@transaction.atomic
def _take(item_id: int, count: int) -> None:
    """Take some away; taking too many rolls back, and no event is sent."""
    item = Item.objects.select_for_update().get(id=item_id)
    item.stock -= count
    item.save()
    if item.stock < 0:
        raise TooMany


urlpatterns = [
    path("items", items),
    path("items/<int:item_id>", put),
    path("items/<int:item_id>/take", take),
]

"""Ports: what the services need from the world. `RealtimeService` is FlowCraft Realtime's own."""

from examples.flowcraft.api.core.ports.announcements import AnnouncementRepository, AnnouncementTransaction
from examples.flowcraft.api.core.ports.dashboard import DashboardRepository, DashboardTransaction
from examples.flowcraft.api.core.ports.flows import FlowRepository, FlowTransaction
from examples.flowcraft.api.core.ports.runs import Audit, RunDetail, RunRepository, RunTransaction, RunVersion
from examples.flowcraft.api.core.ports.transaction import State, Transaction
from flowcraft import RealtimeService

__all__ = [
    "AnnouncementRepository",
    "AnnouncementTransaction",
    "Audit",
    "DashboardRepository",
    "DashboardTransaction",
    "FlowRepository",
    "FlowTransaction",
    "RealtimeService",
    "RunDetail",
    "RunRepository",
    "RunTransaction",
    "RunVersion",
    "State",
    "Transaction",
]

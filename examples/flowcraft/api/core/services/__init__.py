"""Services: what can be done with the product. Each takes its ports in the constructor."""

from examples.flowcraft.api.core.services.announcements import AnnouncementService
from examples.flowcraft.api.core.services.dashboard import DashboardService
from examples.flowcraft.api.core.services.execution import Assignment, ExecutionService
from examples.flowcraft.api.core.services.flows import FlowService
from examples.flowcraft.api.core.services.runs import RunService

__all__ = [
    "AnnouncementService",
    "Assignment",
    "DashboardService",
    "ExecutionService",
    "FlowService",
    "RunService",
]

"""The repositories, in PostgreSQL."""

from examples.flowcraft.api.adapters.postgres.announcements import PostgresAnnouncements
from examples.flowcraft.api.adapters.postgres.dashboard import PostgresDashboard
from examples.flowcraft.api.adapters.postgres.database import Database
from examples.flowcraft.api.adapters.postgres.flows import PostgresFlows
from examples.flowcraft.api.adapters.postgres.runs import PostgresRuns

__all__ = ["Database", "PostgresAnnouncements", "PostgresDashboard", "PostgresFlows", "PostgresRuns"]

"""Contracts: the tests that every adapter of a port must pass.

Subclass one, override its fixtures, and run pytest (with pytest-asyncio).

class TestMyLog(EventLogContract):
    @pytest.fixture
    def log(self) -> AppendableLog:
        return MyLog()
"""

from flowcraft.testing.contracts.backend import BackendContract
from flowcraft.testing.contracts.connection import CarrierClient, ConnectionContract
from flowcraft.testing.contracts.log import EventLogContract, SingleWriterLogContract
from flowcraft.testing.contracts.members import MembersContract, MembersUnderContract
from flowcraft.testing.contracts.rows import NotesUnderContract, RowsContract
from flowcraft.testing.contracts.service import CallerTransaction, RealtimeServiceContract
from flowcraft.testing.contracts.transactions import AppendableLog, Transaction
from flowcraft.testing.contracts.wakeups import Reader, WakeupsContract

__all__ = [
    "AppendableLog",
    "BackendContract",
    "CallerTransaction",
    "CarrierClient",
    "ConnectionContract",
    "EventLogContract",
    "MembersContract",
    "MembersUnderContract",
    "NotesUnderContract",
    "Reader",
    "RealtimeServiceContract",
    "RowsContract",
    "SingleWriterLogContract",
    "Transaction",
    "WakeupsContract",
]

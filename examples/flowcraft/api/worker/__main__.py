"""A worker process: `DATABASE_URL=postgresql://… python -m examples.flowcraft.api.worker`."""

from __future__ import annotations

import asyncio
import os
import socket

from examples.flowcraft.api.stop import until_stopped
from examples.flowcraft.api.worker.main import run_worker

# On SIGTERM and Ctrl-C it gives back what it has in hand.
asyncio.run(until_stopped(run_worker(os.environ["DATABASE_URL"], f"{socket.gethostname()}-{os.getpid()}")))

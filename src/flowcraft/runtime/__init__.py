"""Waiting: the tasks that follow the log, carry connections and keep each other alive."""

"""PostgreSQL: the log, its listener, and the database side of every channel."""

-- is_standby: whether this server replays the WAL of another one.
select pg_catalog.pg_is_in_recovery()

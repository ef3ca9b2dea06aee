-- is_standby: whether this server replays what another one writes.
select pg_catalog.pg_is_in_recovery()

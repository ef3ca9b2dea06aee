-- unlock: release the leader lock.
select pg_catalog.pg_advisory_unlock(:lock_class, :leader_lock)

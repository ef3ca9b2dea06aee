-- migrate_lock: until this transaction ends, every other migration of this database waits.
select pg_catalog.pg_advisory_xact_lock(:lock_class, :migrate_lock)

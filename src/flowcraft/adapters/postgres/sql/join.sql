-- join: take the readers lock for as long as this session lasts: by it writers find that there are readers.
select pg_catalog.pg_advisory_lock_shared(:lock_class, :readers_lock)

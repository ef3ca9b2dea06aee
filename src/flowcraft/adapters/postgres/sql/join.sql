-- join: be there for the writers, and be counted among the readers, for as long as this session lasts.
select pg_catalog.pg_advisory_lock_shared(1718382455, 2)

-- try_migrate_lock: take the lock of `migrate_lock`, or return false, and how many milliseconds may be waited; 0: without end.
select pg_catalog.pg_try_advisory_xact_lock(:lock_class, :migrate_lock) as taken,
    (select s.setting::pg_catalog.float8 from pg_catalog.pg_settings as s where s.name operator(pg_catalog.=) 'lock_timeout') as milliseconds

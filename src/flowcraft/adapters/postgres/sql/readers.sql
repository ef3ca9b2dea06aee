-- readers: how many sessions have the readers lock. `objsubid = 2` are the locks with a key of two numbers.
select count(*)
from pg_catalog.pg_locks
where locktype = 'advisory' and classid operator(pg_catalog.=) :lock_class and objid operator(pg_catalog.=) :readers_lock and objsubid = 2 and granted
    and database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())

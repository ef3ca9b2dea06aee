-- readers: how many there are.
select count(*)
from pg_catalog.pg_locks
where locktype = 'advisory' and classid operator(pg_catalog.=) 1718382455 and objid operator(pg_catalog.=) 2 and objsubid = 2 and granted
    and database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())

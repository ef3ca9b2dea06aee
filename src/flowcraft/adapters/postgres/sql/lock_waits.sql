-- lock_waits: the sessions that the migrating session with this process id waits for, and what it waits for.
--
-- It asks for the lock of migrations again and again, so PostgreSQL does not know that it waits for that one.
with held as (
    select l.pid from pg_catalog.pg_locks as l
    where l.locktype operator(pg_catalog.=) 'advisory' and l.classid operator(pg_catalog.=) :lock_class and l.objid operator(pg_catalog.=) :migrate_lock
        and l.objsubid operator(pg_catalog.=) 2 and l.granted
        and l.database operator(pg_catalog.=) (select d.oid from pg_catalog.pg_database as d where d.datname operator(pg_catalog.=) pg_catalog.current_database())
), blocking as (
    select u.pid from pg_catalog.unnest(pg_catalog.pg_blocking_pids($1)) as u(pid)
    union select coalesce(h.pid, 0) from held as h where not exists (select from held as own where own.pid operator(pg_catalog.=) $1)
)
select b.pid, a.usename::text as role, coalesce(a.application_name, '') as name, coalesce(a.state, '') as state,
    extract(epoch from pg_catalog.clock_timestamp() operator(pg_catalog.-) a.xact_start)::pg_catalog.float8 as seconds,
    coalesce(pg_catalog."left"(pg_catalog.regexp_replace(a.query, '\s+', ' ', 'g'), 120), '') as query,
    (select w.relation::pg_catalog.regclass::pg_catalog.text
        from pg_catalog.pg_locks as w where w.pid operator(pg_catalog.=) $1 and not w.granted limit 1) as relation
from blocking as b
left join pg_catalog.pg_stat_activity as a on a.pid operator(pg_catalog.=) b.pid
order by b.pid

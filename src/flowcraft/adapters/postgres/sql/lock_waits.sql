-- lock_waits: the sessions that the session with this process id waits for, and what it waits for.
select b.pid, a.usename::text as role, coalesce(a.application_name, '') as name, coalesce(a.state, '') as state,
    extract(epoch from pg_catalog.clock_timestamp() operator(pg_catalog.-) a.xact_start)::pg_catalog.float8 as seconds,
    coalesce(pg_catalog."left"(pg_catalog.regexp_replace(a.query, '\s+', ' ', 'g'), 120), '') as query,
    (select case when w.locktype operator(pg_catalog.=) 'advisory' then null else w.relation::pg_catalog.regclass::pg_catalog.text end
        from pg_catalog.pg_locks as w where w.pid operator(pg_catalog.=) $1 and not w.granted limit 1) as relation
from (select distinct u.pid from pg_catalog.unnest(pg_catalog.pg_blocking_pids($1)) as u(pid)) as b
left join pg_catalog.pg_stat_activity as a on a.pid operator(pg_catalog.=) b.pid
order by b.pid

-- lock_holders: sessions that hold an advisory lock of ours, which any role can take, although their role has no use for it.
--
-- A session that may read the log is a server or a writer that tests a lock; those that migrate own the schema.
select l.objid::integer as lock, a.pid, coalesce(a.usename::text, p.owner::text) as role, coalesce(a.application_name, '') as name, p.gid
from pg_locks as l
left join pg_stat_activity as a on a.pid = l.pid
left join pg_prepared_xacts as p on l.pid is null and l.virtualtransaction = '-1/' || p.transaction::text
where l.locktype = 'advisory' and l.classid = :lock_class and l.objsubid = 2 and l.granted and l.objid between 1 and 5
    and l.database = (select oid from pg_database where datname = current_database())
    and not coalesce(case when l.objid = :migrate_lock
        then pg_has_role(coalesce(a.usename, p.owner), (select n.nspowner from pg_namespace as n where n.nspname = 'flowcraft'), 'member')
        else has_function_privilege(coalesce(a.usename, p.owner), (select f.oid from pg_proc as f
            where f.pronamespace = to_regnamespace('flowcraft') and f.proname = case l.objid when :rotate_lock then 'rotate' else 'changes' end), 'execute')
        end, false)
order by l.objid, a.pid

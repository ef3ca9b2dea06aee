-- may_check: whether this role may read the key of ephemeral events; null in a log from before there was one.
select pg_catalog.has_function_privilege(p.oid, 'execute')
from pg_catalog.pg_proc as p join pg_catalog.pg_namespace as n on n.oid operator(pg_catalog.=) p.pronamespace
where n.nspname operator(pg_catalog.=) 'flowcraft' and p.proname operator(pg_catalog.=) 'ephemeral_key'

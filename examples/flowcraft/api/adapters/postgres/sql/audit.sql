-- The versions of the newest runs. Whatever this sees was committed before its own transaction has an end.
select coalesce((select json_agg(r order by r.number desc)
                 from (select id as run_id, number, version from runs order by number desc limit 500) r), '[]') as data,
       pg_current_xact_id()::text as xid

-- The versions of the newest runs. Whatever this sees was committed before its own transaction has an end.
select coalesce((select json_object_agg(r.id, r.version)
                 from (select id, version from runs order by number desc limit 500) r), '{}') as runs,
       pg_current_xact_id()::text as xid,
       clock_timestamp() as at

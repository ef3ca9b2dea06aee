-- compare_others: the trigger functions of sources other than those of $1, each with its SQL. After `compare`.
select p.proname::text as function, pg_temp.flowcraft_text(p.proname::text) as text
from pg_proc as p
where p.pronamespace = to_regnamespace('flowcraft') and p.prorettype = 'trigger'::regtype
    and obj_description(p.oid, 'pg_proc') like 'flowcraft:%' and p.proname <> all ($1::text[])
order by 1

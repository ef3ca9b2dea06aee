-- inspect_leftovers: the trigger functions of sources other than those of $1, and the tables that have them.
select p.proname::text as function, coalesce(string_agg(distinct t.tgrelid::regclass::text, ', '), '') as tables
from pg_proc as p
left join pg_trigger as t on t.tgfoid = p.oid
where p.pronamespace = to_regnamespace('flowcraft') and p.prorettype = 'trigger'::regtype
    and obj_description(p.oid, 'pg_proc') like 'flowcraft:%' and p.proname <> all ($1::text[])
group by 1
order by 1

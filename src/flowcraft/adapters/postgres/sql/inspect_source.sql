-- inspect_source: the triggers of a source. $1 the source as JSON, $2 the name of their function. After `install`.
with relation as (select pg_temp.flowcraft_table($1::text::jsonb) as id)
select
    p.oid is not null as installed,
    pg_temp.flowcraft_is(p.oid, $1::text::jsonb, r.id) as same,
    array(
        select distinct split_part(t.tgname, '_', 3) from pg_trigger as t
        where t.tgrelid = r.id and t.tgfoid = p.oid order by 1
    ) as operations,
    array(
        select t.tgname::text from pg_trigger as t
        where t.tgrelid = r.id and t.tgfoid = p.oid and t.tgenabled not in ('O', 'A') order by 1
    ) as disabled
from relation as r
left join pg_proc as p on p.pronamespace = to_regnamespace('flowcraft') and p.proname = $2::text

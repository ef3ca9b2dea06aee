-- inspect_source: the triggers of a source. $1 the source as JSON. After `install`.
with relation as (
    select r.id, pg_temp.flowcraft_function($1::text::jsonb, r.id) as function, pg_temp.flowcraft_plan($1::text::jsonb, r.id) as plan
    from (select pg_temp.flowcraft_table($1::text::jsonb) as id) as r
), wanted as (
    select t.* from relation as r cross join lateral pg_temp.flowcraft_triggers($1::text::jsonb, r.id, r.function) as t
), present as (
    select t.* from relation as r cross join lateral pg_temp.flowcraft_present(r.function) as t
)
select
    p.oid is not null as installed,
    pg_temp.flowcraft_is(p.oid, $1::text::jsonb, r.id) and pg_temp.flowcraft_has_state($1::text::jsonb, r.id, r.function) and not exists (select from present as t where not t.fits) as same,
    array(select split_part(t.name, '_', 3) from present as t where t.place = r.id and t.name !~ '_replica$' order by 1) as operations,
    array(select split_part(t.name, '_', 3) from wanted as t where t.place = r.id and t.name !~ '_replica$' order by 1) as wanted,
    array(select t.name from present as t where t.place = r.id and t.name !~ '_replica$' and t.enabled not in ('O', 'A') order by 1)
        as disabled,
    array(select distinct w.place::regclass::text from wanted as w where w.place <> r.id
        and not exists (select from present as t where t.place = w.place and t.name = w.name) order by 1) as uncovered,
    (select i.inhparent::regclass::text from pg_inherits as i where i.inhrelid = r.id limit 1) as parent,
    case when not (r.plan ->> 'keyed')::boolean then r.plan ->> 'without_key' end as without_key,
    pg_temp.flowcraft_without_index($1::text::jsonb, r.id) as without_index
from relation as r
left join pg_proc as p on p.pronamespace = to_regnamespace('flowcraft') and p.proname = r.function

-- trigger: the function that `install` makes for a source, as text and with its mark; it runs after `install`.
with named as (
    select s, pg_temp.flowcraft_table(s) as relation,
           format('%s_%s', left(s ->> 'prefix', 48),
               left(md5(concat_ws(' ', s ->> 'channel', s ->> 'table', s ->> 'event')), 8)) as function
    from (select $1::text::jsonb as s) as given
), written as (
    select *, pg_temp.flowcraft_body(s, relation) as body,
           case when exists (
               select from pg_attribute as a where a.attrelid = relation and a.atttypid = 'interval'::regtype
           ) then 'set intervalstyle = iso_8601' end as setting
    from named
)
select quote_ident(function) as function, relation::text as relation, body, coalesce(setting, '') as setting,
       'flowcraft:' || md5(format(
           'create or replace function flowcraft.%I() returns trigger language plpgsql security definer '
           'set search_path = pg_catalog, pg_temp %s as %L', function, setting, body)) as mark,
       right(function, 8) as suffix
from written

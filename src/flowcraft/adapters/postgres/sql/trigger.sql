-- trigger: the function that `install` makes for a source, as text and with its mark; it runs after `install`.
with named as (
    select s, pg_temp.flowcraft_table(s) as relation,
           format('%s_%s', left(s ->> 'prefix', 48),
               left(md5(concat_ws(' ', s ->> 'channel', s ->> 'table', s ->> 'event')), 8)) as function
    from (select $1::text::jsonb as s) as given
)
select quote_ident(function) as function, relation::text as relation, pg_temp.flowcraft_body(s, relation) as body,
       array_to_string(pg_temp.flowcraft_settings(relation), ' set ') as settings,
       'flowcraft:' || md5(pg_temp.flowcraft_definition(s, relation, function)) as mark, right(function, 8) as suffix
from named

-- trigger: what `install` makes for a source, as text and with its mark; it runs after `install`.
with named as (
    select s, pg_temp.flowcraft_table(s) as relation, pg_temp.flowcraft_function(s, pg_temp.flowcraft_table(s)) as function
    from (select $1::text::jsonb as s) as given
)
select quote_ident(function) as function, pg_temp.flowcraft_body(s, relation) as body,
       array_to_string(pg_temp.flowcraft_settings(relation, pg_temp.flowcraft_plan(s, relation)), ' set ') as settings,
       pg_temp.flowcraft_mark(s, relation, pg_temp.flowcraft_definition(s, relation, function)) as mark,
       (select string_agg(t.definition, e'\n' order by t.place::regclass::text, t.name)
        from pg_temp.flowcraft_triggers(s, relation, function) as t) as triggers
from named

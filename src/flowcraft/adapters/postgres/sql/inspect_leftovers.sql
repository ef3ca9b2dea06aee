-- inspect_leftovers: the trigger functions of no source of $1, and the tables that have them.
select l.function, l.tables from pg_temp.flowcraft_leftovers($1::text::jsonb, '{}', 'all') as l

-- drop_triggers: drop the trigger function $1: of a table in the caller's schemas if there is one, else the one of this name.
do $flowcraft_drop$
declare
    function text := coalesce((
        select p.proname from pg_catalog.pg_proc as p
        join pg_catalog.pg_trigger as t on t.tgfoid = p.oid join pg_catalog.pg_class as c on c.oid = t.tgrelid
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        where p.pronamespace = pg_catalog.to_regnamespace('flowcraft')
            and pg_catalog.starts_with(pg_catalog.obj_description(p.oid, 'pg_proc'), 'flowcraft:')
            and pg_catalog.split_part(pg_catalog.obj_description(p.oid, 'pg_proc'), ' ', 2) = $1
            and n.nspname = any (pg_catalog.current_schemas(false))
        limit 1
    ), $1);
begin
    execute pg_catalog.format('drop function if exists flowcraft.%I() cascade', function);
    execute pg_catalog.format('drop function if exists flowcraft.%I(text, bigint, bigint)', function || '_rows');
end $flowcraft_drop$

-- remember: note which migrations were applied where a copy of the schema without its rows has it too; see `complete`.
do $flowcraft_remember$
declare
    applied text := (select string_agg(m.version::text, ' ' order by m.version) from flowcraft.migration as m);
    noted text;
begin
    if to_regprocedure('flowcraft.applied()') is not null then
        execute 'select flowcraft.applied()' into noted;
    end if;
    if noted is distinct from applied then
        execute format('create or replace function flowcraft.applied() returns text language sql immutable '
            'set search_path = pg_catalog, pg_temp as %L', format('select %L::text', applied));
        revoke all on function flowcraft.applied() from public;
    end if;
end $flowcraft_remember$;

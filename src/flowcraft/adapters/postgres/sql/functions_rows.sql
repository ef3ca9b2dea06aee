-- functions_rows: read the rows of a channel. `flowcraft migrate` writes a function for each declared table.

-- rows: the rows of a channel by the name of the trigger function of its source, and by the value of its parameter if it has one.
--
-- The first row, of kind `c`, has as JSON the cursor of the snapshot, the number of rows and the bytes of those that can be sent. Then
-- come the rows, of kind `e`, and for each that cannot be sent its reason, of kind `s`; neither if there are more than `most`
-- or more bytes than `most_bytes`. Not in a transaction with a snapshot of its own: see the functions that it calls.
create or replace function flowcraft.rows(source text, parameter text, most bigint, most_bytes bigint)
returns table (kind "char", content text) language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    names text[] := array(
        select p.proname from pg_proc as p
        where p.pronamespace = 'flowcraft'::regnamespace and p.proname like '%\_rows'
            and obj_description(p.oid, 'pg_proc') = 'flowcraft-rows:' || rows.source order by 1);
begin
    if cardinality(names) <> 1 then
        raise exception 'the channel of % has % tables whose rows can be read', rows.source, cardinality(names)
            using errcode = 'RT006', hint = 'Run `flowcraft migrate`; with a schema for each tenant, name the schema of the table.';
    end if;
    return query execute format('select r.kind, r.content from flowcraft.%I($1, $2, $3) as r', names[1])
        using rows.parameter, rows.most, rows.most_bytes;
end $$;
revoke all on function flowcraft.rows(text, text, bigint, bigint) from public;
-- Who may read the log may read the rows: a server of the roles of before needs no other grant.
do $flowcraft_grants$
declare
    granted record;
begin
    for granted in
        select g.grantee::regrole as role from pg_proc as p cross join lateral aclexplode(p.proacl) as g
        where p.oid = 'flowcraft.changes(xid8[], xid8[], text[], bigint)'::regprocedure and g.grantee <> 0
            and g.grantee <> p.proowner and g.privilege_type = 'EXECUTE'
    loop
        execute format('grant execute on function flowcraft.rows(text, text, bigint, bigint) to %s', granted.role);
    end loop;
end $flowcraft_grants$;

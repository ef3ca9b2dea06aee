-- functions_backlog: how much there is to read. Replaced in place, and keeps its grants.

-- measured: how many events `changes` would return for the same arguments, and the bytes of their payloads; at most `most`
-- events are counted. `changes` stores its rows before it returns them, which takes six times as long as to count them.
create or replace function flowcraft.measured(
    firsts xid8[], lasts xid8[], channels text[], most bigint, out events bigint, out bytes bigint
) language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
begin
    if channels is null then
        select count(*), coalesce(sum(octet_length(c.payload)), 0) into events, bytes
        from (
            select e.payload from flowcraft.gaps(firsts, lasts) as g
            join flowcraft.event as e on e.xid > g.above and e.xid < g.below limit most
        ) as c;
    else
        select count(*), coalesce(sum(octet_length(c.payload)), 0) into events, bytes
        from (
            select e.payload from flowcraft.gaps(firsts, lasts) as g cross join unnest(channels) as n
            join flowcraft.event as e on e.channel = n and e.xid > g.above and e.xid < g.below limit most
        ) as c;
    end if;
end $$;

revoke all on function flowcraft.measured(xid8[], xid8[], text[], bigint) from public;
-- Who may read the log may have it measured: a server of the roles of before needs no other grant.
do $flowcraft_grants$
declare
    granted record;
begin
    for granted in
        select g.grantee::regrole as role from pg_proc as p cross join lateral aclexplode(p.proacl) as g
        where p.oid = 'flowcraft.changes(xid8[], xid8[], text[], bigint)'::regprocedure and g.grantee <> 0
            and g.grantee <> p.proowner and g.privilege_type = 'EXECUTE'
    loop
        execute format('grant execute on function flowcraft.measured(xid8[], xid8[], text[], bigint) to %s', granted.role);
    end loop;
end $flowcraft_grants$;

-- functions_plans: what else reads the log. Each is replaced in place, keeps its grants, and has one plan only, as `changes` has.

-- mark: what distinguishes this history from one that was put back: a number of the id and the moment of a transaction's first event
-- as it is stored; null if there is none. `kept` has the marks of those that were removed. See cursors.mark_of.
--
-- Only the index of transactions has the order.
create or replace function flowcraft.mark(of xid8) returns bigint
language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
begin
    return coalesce(
        (select k.mark from flowcraft.kept as k where k.xid = of),
        (
            select mod(
                coalesce((extract(epoch from e.broadcast_at) * 1000000)::bigint, 0)::numeric + 1000003 * e.id::numeric, 1099511627775
            )::bigint + 1
            from flowcraft.event as e where e.xid >= of and e.xid <= of order by e.xid limit 1
        )
    );
end $$;

-- measured: how many events `changes` would return for the same arguments, and the bytes of their payloads; at most `most`
-- events are counted. `changes` stores its rows before it returns them, which takes six times as long as to count them.
create or replace function flowcraft.measured(
    firsts xid8[], lasts xid8[], channels text[], most bigint, out events bigint, out bytes bigint
) language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
    if channels is null then
        select count(*), coalesce(sum(octet_length(c.payload)), 0) into events, bytes
        from (
            select e.payload from flowcraft.gaps(firsts, lasts) as g cross join lateral (
                select i.payload from flowcraft.event as i where i.xid > g.above and i.xid < g.below order by i.xid offset 0
            ) as e limit (select most)
        ) as c;
    else
        select count(*), coalesce(sum(octet_length(c.payload)), 0) into events, bytes
        from (
            select e.payload from flowcraft.gaps(firsts, lasts) as g cross join unnest((select channels)) as n cross join lateral (
                select i.payload from flowcraft.event as i
                where (i.channel, i.xid) > (n, g.above) and (i.channel, i.xid) < (n, g.below) offset 0
            ) as e limit (select most)
        ) as c;
    end if;
end $$;

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

-- cursor: the position of the caller's snapshot, as clients receive it. Read it in the statement that reads the state,
-- or in one REPEATABLE READ transaction with it. Events of the caller's own transaction lie before it.
--
-- Its text is at most 4,096 bytes: the running transactions are ranges, and where even these are too many, it is a cursor that
-- is answered with a reset. cursors.Cursor writes the same.
create or replace function flowcraft.cursor() returns text language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
    reached record := flowcraft.reached();
    own bigint := pg_current_xact_id_if_assigned()::text::bigint;
    visible bigint := pg_snapshot_xmax(reached.snapshot)::text::bigint;
    -- The floor may be beyond an old snapshot.
    xmax bigint := least(greatest(reached.newest::text::bigint + 1, reached.floor::text::bigint), visible);
    writes boolean := own >= visible and flowcraft.mark(own::text::xid8) is not null;
    lineage text := format('%s.%s/%s.%s/', reached.system, reached.database, reached.timeline, reached.generation);
    result text;
begin
    if writes then
        xmax := own + 1;
    end if;
    with running(first, last) as (
        select x::text::bigint, x::text::bigint from pg_snapshot_xip(reached.snapshot) as x where x::text::bigint < xmax
        union all
        -- The snapshot does not list the transactions that began after it; of these it shows only our own.
        select visible, own - 1 where writes and visible < own
    ), islands as (
        select r.first, r.last, count(*) filter (where r.new) over (order by r.first) as island
        from (select *, first > lag(last, 1, -1) over (order by first) + 1 as new from running) as r
    ), ranges as (
        select min(first) as first, max(last) as last from islands group by island
    )
    select concat(lineage, xmax, ':', string_agg(concat(first, case when last > first then '-' || last end), ',' order by first))
    into result from ranges;
    result := concat(result, '/' || flowcraft.mark((xmax - 1)::text::xid8));
    return case when octet_length(result) > 4096 then concat(lineage, xmax, ':*') else result end;
end $$;

-- functions_read: where the log ends, which history it is, and what is new in it. Roles that may call `position` and
-- `difference`, which servers of earlier versions call, may call these.

-- mark: what distinguishes this history from one that was put back: a number of the id and the moment of a transaction's first event
-- as it is stored; null if there is none. `kept` has the marks of those that were removed. See cursors.mark_of.
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
            from flowcraft.event as e where e.xid = of limit 1
        )
    );
end $$;

-- check_floor: refuse a log that begins at a transaction which this database has not had. An old snapshot may be behind the floor.
create or replace function flowcraft.check_floor(floor xid8) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_xact_status((floor::text::bigint - 1)::text::xid8);
    if floor is null then
        raise invalid_parameter_value;
    end if;
exception when invalid_parameter_value then
    raise exception 'the log begins at transaction %, which this database has not had: a copy has its rows without its state, or '
        'its state without its rows; run `flowcraft migrate`', floor using errcode = 'object_not_in_prerequisite_state';
end $$;

-- reached: the end of the log in the caller's snapshot, where the log begins, and which database it is.
--
-- Sequential scans and JIT are off: a plan made while the log was small would read all of a large one, and compiling takes
-- longer than a read.
create or replace function flowcraft.reached(
    out system bigint, out database bigint, out timeline integer, out generation integer, out floor xid8, out newest xid8,
    out mark bigint, out snapshot pg_snapshot, out at timestamptz
) language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
    xmax xid8;
begin
    if pg_is_in_recovery() then
        raise exception 'this server is a standby; the log is read on the primary'
            using errcode = 'read_only_sql_transaction',
                detail = 'The snapshot of a standby does not name the transactions that run on the primary.';
    end if;
    select s.system, s.generation into reached.system, reached.generation from flowcraft.state as s;
    select d.oid into strict reached.database from pg_database as d where d.datname = current_database();
    if reached.system is distinct from (select c.system_identifier from pg_control_system() as c) then
        raise exception 'the log was restored from a dump or upgraded; run `flowcraft migrate`'
            using errcode = 'object_not_in_prerequisite_state',
                detail = 'Its transaction ids are those of another database system.';
    end if;
    -- Not from the control file, which lags behind a promotion. The name of a WAL file begins with its timeline, as 8
    -- hexadecimal digits.
    timeline := ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer;
    snapshot := pg_current_snapshot();
    xmax := pg_snapshot_xmax(snapshot);
    at := now();
    newest := (
        select e.xid
        from flowcraft.shown((flowcraft.floor()::text::bigint - 1)::text::xid8) as s
        cross join lateral (
            select i.xid from flowcraft.event as i where i.xid > s.above and i.xid < s.below order by i.xid desc limit 1
        ) as e
        order by s.above desc
        limit 1
    );
    -- Last: every event that was removed before the newest one was looked up is then below it.
    floor := flowcraft.floor();
    if floor is null or floor > xmax then
        perform flowcraft.check_floor(floor);
    end if;
    mark := flowcraft.mark((least(greatest(newest, (floor::text::bigint - 1)::text::xid8),
        (xmax::text::bigint - 1)::text::xid8)));
end $$;

-- gaps: the transaction ids of ranges that the caller's snapshot shows, as open intervals; the last range has no end.
--
-- Between the intervals are the running transactions. Looking those up would walk over every row that they have written
-- so far, on each read, for as long as they run.
create or replace function flowcraft.gaps(firsts xid8[], lasts xid8[]) returns table (above xid8, below xid8)
-- 5 rows: a busy server has a few transactions running, not the 1,000 rows that the planner would assume.
language plpgsql stable parallel safe rows 5 set search_path = pg_catalog, pg_temp as $$
declare
    ending bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
begin
    return query
        select e.edge::text::xid8, lead(e.edge, 1, e.ending) over (partition by e.number order by e.edge)::text::xid8
        from (
            with range as (
                select f.number, f.first::text::bigint as first, least(coalesce(l.last::text::bigint + 1, ending), ending) as ending
                from unnest(firsts) with ordinality as f(first, number)
                left join unnest(lasts) with ordinality as l(last, number) on l.number = f.number
            )
            select r.number, r.first - 1 as edge, r.ending from range as r
            union all
            select r.number, running::text::bigint, r.ending
            from range as r join pg_snapshot_xip(pg_current_snapshot()) as running
                on running::text::bigint >= r.first and running::text::bigint < r.ending
        ) as e
        where e.edge < e.ending;
end $$;

-- changes: the events that the caller's snapshot shows of ranges of transactions, the last of which has no end; of channels, or
-- all (null). At most `most`. RT002: some of these events have been removed.
create or replace function flowcraft.changes(firsts xid8[], lasts xid8[], channels text[], most bigint)
returns setof flowcraft.event language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
begin
    if channels is null then
        return query
            select e.* from flowcraft.gaps(firsts, lasts) as g
            join flowcraft.event as e on e.xid > g.above and e.xid < g.below limit most;
    else
        return query
            select e.* from flowcraft.gaps(firsts, lasts) as g cross join unnest(channels) as c
            join flowcraft.event as e on e.channel = c and e.xid > g.above and e.xid < g.below limit most;
    end if;
    -- Last: a table that is emptied looks empty in every snapshot, also in those that are older.
    if flowcraft.floor() > firsts[1] then
        raise exception 'the log no longer reaches back to transaction %', firsts[1] using errcode = 'RT002';
    end if;
end $$;

-- proofs: of transactions that cursors have seen: the mark of each, null if the log has no event of it, and whether it still runs.
create or replace function flowcraft.proofs(seen xid8[]) returns table (xid bigint, mark bigint, runs boolean, floor bigint)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    return query
        select s::text::bigint, flowcraft.mark(s), not pg_visible_in_snapshot(s, pg_current_snapshot()), flowcraft.floor()::text::bigint
        from unnest(seen) as s;
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
    writes boolean := own >= visible and exists (select from flowcraft.event as e where e.xid = own::text::xid8);
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

-- raise_floor: show every reader, before it happens, that the events of `newest` and older transactions are removed.
create or replace function flowcraft.raise_floor(newest xid8) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if newest >= flowcraft.floor() then
        -- A cursor at the floor proves by this mark which history it is of.
        insert into flowcraft.kept select newest, m from flowcraft.mark(newest) as m where m is not null on conflict do nothing;
        delete from flowcraft.kept where xid < newest;
        perform setval('flowcraft.event_floor', newest::text::bigint + 1);
    end if;
end $$;

-- purge: remove the events of a channel, of a family (`runs.*`), or all (null); return how many there are, or were.
create or replace function flowcraft.purge(channel text, dry_run boolean default false) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    family text := case when purge.channel like '%.*' then left(purge.channel, -1) end;
    removed bigint;
begin
    if purge.channel is not null then
        perform flowcraft.check_channel(coalesce(family || 'x', purge.channel));
    end if;
    if dry_run then
        return (
            select count(*) from flowcraft.event as e
            where purge.channel is null or e.channel = purge.channel or starts_with(e.channel, family)
        );
    end if;
    if purge.channel is null then
        perform pg_advisory_xact_lock(:lock_class, :rotate_lock);
    end if;
    -- What is removed cannot prove any more that this is the history that a cursor has seen.
    insert into flowcraft.kept
        select x, flowcraft.mark(x)
        from (
            select distinct e.xid as x from flowcraft.event as e
            where purge.channel is null or e.channel = purge.channel or starts_with(e.channel, family)
        ) as purged
        on conflict do nothing;
    if purge.channel is null then
        -- Not beyond the oldest transaction that runs: its events are yet to be delivered.
        perform flowcraft.raise_floor(
            least(e.xid, (pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1)::text::xid8)
        ) from (select xid from flowcraft.event order by xid desc limit 1) as e;
        delete from flowcraft.event;
    elsif family is not null then
        delete from flowcraft.event as e where starts_with(e.channel, family);
    else
        delete from flowcraft.event as e where e.channel = purge.channel;
    end if;
    get diagnostics removed = row_count;
    perform nextval('flowcraft.event_purges');
    return removed;
end $$;

-- Who may read with the functions of before may read with these.
do $flowcraft_grants$
declare
    granted record;
    created text;
begin
    foreach created in array array['reached()', 'changes(xid8[], xid8[], text[], bigint)', 'proofs(xid8[])'] loop
        execute format('revoke all on function flowcraft.%s from public', created);
        for granted in
            select g.grantee::regrole as role from pg_proc as p cross join lateral aclexplode(p.proacl) as g
            where p.oid = 'flowcraft.difference(xid8, xid8[], text[], bigint)'::regprocedure and g.grantee <> 0
                and g.grantee <> p.proowner and g.privilege_type = 'EXECUTE'
        loop
            execute format('grant execute on function flowcraft.%s to %s', created, granted.role);
        end loop;
    end loop;
end $flowcraft_grants$;
revoke all on function flowcraft.mark(xid8), flowcraft.check_floor(xid8), flowcraft.gaps(xid8[], xid8[]) from public;

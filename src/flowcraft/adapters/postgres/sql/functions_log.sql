-- functions_log: the functions that services and readers call. Each is replaced in place, and keeps its grants.

-- broadcast: put an event on a channel, in the caller's transaction.
create or replace function flowcraft.broadcast(channel text, payload json) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform flowcraft.check_channel(broadcast.channel);
    if broadcast.payload is null then
        raise exception 'event on channel % has no payload', broadcast.channel using errcode = 'null_value_not_allowed';
    end if;
    -- 256 KiB: a whole transaction is read into a server's memory, and every subscriber may be sent a copy.
    if octet_length(broadcast.payload::text) > 262144 then
        raise exception 'event on channel % has % bytes of JSON; at most 262144 fit into one event',
            broadcast.channel, octet_length(broadcast.payload::text) using errcode = 'program_limit_exceeded';
    end if;
    -- First the row, so that this transaction has its id; then the wakeup: see flowcraft.wake.
    insert into flowcraft.event (channel, payload) values (broadcast.channel, broadcast.payload::text);
    perform flowcraft.wake();
end $$;

-- broadcast_ephemeral: deliver an event to the present subscribers when this transaction commits, and do not keep it.
create or replace function flowcraft.broadcast_ephemeral(channel text, payload json) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    message text := '{"channel":"' || broadcast_ephemeral.channel || '","payload":' || broadcast_ephemeral.payload || '}';
begin
    perform flowcraft.check_channel(broadcast_ephemeral.channel);
    if message is null then
        raise exception 'event on channel % has no payload', broadcast_ephemeral.channel using errcode = 'null_value_not_allowed';
    end if;
    -- PostgreSQL refuses a notification of 8,000 bytes or more; 100 are kept in reserve.
    if octet_length(message) > 7900 then
        raise exception 'ephemeral event on channel % has % bytes; PostgreSQL carries at most 7900 in one notification',
            broadcast_ephemeral.channel, octet_length(message)
            using errcode = 'program_limit_exceeded', hint = 'send less, or declare the channel durable';
    end if;
    -- A full queue (8 GB) fails every commit that notifies. At half of it, events that may be lost are dropped instead.
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('flowcraft_ephemeral', message);
    end if;
end $$;

-- check_channel: refuse a name outside the grammar.
create or replace function flowcraft.check_channel(name text) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if name is null or name collate "C" !~ '^[a-z][a-z0-9_]{0,47}(\.[A-Za-z0-9_-]{1,64})?$' then
        raise exception 'channel name % is not of the form <entity>_update, <entity>.<id>, system or dashboard',
                coalesce(quote_literal(left(name, 64)), 'null')
            using errcode = 'invalid_parameter_value',
                detail = 'Lower case, digits and _ before the dot; letters, digits, _ and - after it.';
    end if;
end $$;

-- wake: the writer's side of the wakeup. Call it after the rows are written.
--
-- A reader that is busy, the leader, holds the leader lock and reads again without a wakeup; all connected readers share
-- the readers lock. A NOTIFY is sent only if there are readers and none of them is the leader. This transaction has its id
-- by now, so a leader that unlocks after this function found it, and a reader that connects after this function found
-- none, see this transaction running and wait for its end: see core/wakeup.py.
create or replace function flowcraft.wake() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    -- 0x666c6f77, "flow": the class of our advisory locks; 1 leader, 2 readers, 3 migrate, 4 rotate.
    -- In one expression each: between two statements a cancellation could leave the lock behind.
    no_leader boolean := case when pg_try_advisory_lock_shared(:lock_class, :leader_lock)
        then pg_advisory_unlock_shared(:lock_class, :leader_lock) else false end;
    no_readers boolean := no_leader and case when pg_try_advisory_lock(:lock_class, :readers_lock)
        then pg_advisory_unlock(:lock_class, :readers_lock) else false end;
begin
    -- An event that was delivered must not be lost in a crash, and its id not be issued again.
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'local', true);
    end if;
    -- A full queue (8 GB) fails every commit that notifies; without the wakeup, readers poll.
    if no_leader and not no_readers and pg_notification_queue_usage() < 0.5 then
        perform pg_notify('flowcraft_wakeup', '');
    end if;
end $$;

-- shown: the transaction ids above `after` that the caller's snapshot shows, as open intervals.
--
-- Between the intervals are the running transactions. Looking those up would walk over every row that they have written
-- so far, on each read, for as long as they run.
create or replace function flowcraft.shown(after xid8) returns table (above xid8, below xid8)
-- 5 rows: a busy server has a few transactions running, not the 1,000 rows that the planner would assume.
language plpgsql stable parallel safe rows 5 set search_path = pg_catalog, pg_temp as $$
begin
    return query
        select edge, lead(edge, 1, pg_snapshot_xmax(pg_current_snapshot())) over (order by edge)
        from (
            select after as edge
            union all
            select running from pg_snapshot_xip(pg_current_snapshot()) as running where running > after
        ) as edges;
end $$;

-- floor: events of transactions below it have been removed, whatever the caller's snapshot is.
create or replace function flowcraft.floor() returns xid8
language plpgsql volatile parallel restricted set search_path = pg_catalog, pg_temp as $$
begin
    return pg_sequence_last_value('flowcraft.event_floor')::text::xid8;
end $$;

-- position: the end of the log in the caller's snapshot, and where the log begins.
--
-- Sequential scans and JIT are off: a plan made while the log was small would read all of a large one, and compiling takes
-- longer than a read.
create or replace function flowcraft.position(
    out system bigint, out timeline integer, out generation integer, out floor xid8, out newest xid8,
    out snapshot pg_snapshot, out at timestamptz
) language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
begin
    if pg_is_in_recovery() then
        raise exception 'this server is a standby; the log is read on the primary'
            using errcode = 'read_only_sql_transaction',
                detail = 'The snapshot of a standby does not name the transactions that run on the primary.';
    end if;
    select s.system, s.generation into strict position.system, position.generation from flowcraft.state as s;
    if position.system <> (select c.system_identifier from pg_control_system() as c) then
        raise exception 'the log was restored from a dump or upgraded; run `flowcraft migrate`'
            using errcode = 'object_not_in_prerequisite_state',
                detail = 'Its transaction ids are those of another database system.';
    end if;
    -- Not from the control file, which lags behind a promotion. The name of a WAL file begins with its timeline, as 8
    -- hexadecimal digits.
    timeline := ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer;
    snapshot := pg_current_snapshot();
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
end $$;

-- difference: the events that the caller's snapshot shows and the snapshot `xmax:xip` did not. At most about `most`.
-- RT002: some of these events have been removed.
create or replace function flowcraft.difference(after_xmax xid8, after_xip xid8[], channels text[], most bigint)
returns setof flowcraft.event language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
    before xid8 := (after_xmax::text::bigint - 1)::text::xid8;
    finished xid8[] := array(
        select x from unnest(after_xip) as x where pg_visible_in_snapshot(x, pg_current_snapshot())
    );
begin
    if channels is null then
        return query
            select e.* from flowcraft.shown(before) as s
            join flowcraft.event as e on e.xid > s.above and e.xid < s.below limit most;
    else
        return query
            select e.* from flowcraft.shown(before) as s cross join unnest(channels) as c
            join flowcraft.event as e on e.channel = c and e.xid > s.above and e.xid < s.below limit most;
    end if;
    if finished <> '{}' then
        return query
            select e.* from flowcraft.event as e
            where e.xid = any(finished) and (channels is null or e.channel = any(channels)) limit most;
    end if;
    -- Last: a table that is emptied looks empty in every snapshot, also in those that are older.
    if flowcraft.floor() > (select least(after_xmax, min(x::text::bigint)::text::xid8) from unnest(after_xip) as x) then
        raise exception 'the log no longer reaches back to %:%', after_xmax, array_to_string(after_xip, ',')
            using errcode = 'RT002';
    end if;
end $$;

-- cursor: the position of the caller's snapshot, as clients receive it. Read it in the statement that reads the state,
-- or in one REPEATABLE READ transaction with it. Events of the caller's own transaction lie before it.
create or replace function flowcraft.cursor() returns text language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
    reached record := flowcraft.position();
    own xid8 := pg_current_xact_id_if_assigned();
    -- The floor may be beyond an old snapshot.
    xmax xid8 := least(greatest((reached.newest::text::bigint + 1)::text::xid8, reached.floor), pg_snapshot_xmax(reached.snapshot));
    running xid8[] := array(select x from pg_snapshot_xip(reached.snapshot) as x);
begin
    if own >= pg_snapshot_xmax(reached.snapshot) then
        if exists (select from flowcraft.event as e where e.xid = own) then
            xmax := (own::text::bigint + 1)::text::xid8;
            -- The snapshot does not list the transactions that began after it; of these it shows only our own.
            running := running || array(
                select x::text::xid8
                from generate_series(pg_snapshot_xmax(reached.snapshot)::text::bigint, own::text::bigint - 1) as x
            );
        end if;
    end if;
    return format('%s/%s.%s/%s:%s', reached.system, reached.timeline, reached.generation, xmax,
        (select string_agg(x::text, ',' order by x) from unnest(running) as x where x < xmax));
end $$;

-- renew: begin a new generation after a cursor of `last` was found ahead of this database; once for
-- all servers that found it.
create or replace function flowcraft.renew(last integer) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update flowcraft.state set generation = last + 1 where generation <= last
$$;

revoke all on all functions in schema flowcraft from public;

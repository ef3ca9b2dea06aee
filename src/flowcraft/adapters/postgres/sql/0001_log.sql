-- 0001: the log, where it begins, and the functions that services and readers call.
--
-- Everything belongs to the role that migrates. With one role for all there is nothing to grant. With separate
-- roles (the schema is closed to public, and so is every function):
--   a service:  grant usage on schema flowcraft to app;
--               grant execute on function flowcraft.broadcast, flowcraft.broadcast_ephemeral, flowcraft.cursor to app;
--   the server: grant usage on schema flowcraft to realtime;
--               grant execute on function flowcraft.position, flowcraft.difference, flowcraft.renew,
--                   flowcraft.wake, flowcraft.rotate, flowcraft.purges, flowcraft.broadcast_ephemeral, flowcraft.broadcast to realtime;
--   an operator: the same grant on the schema, and flowcraft.purge.
-- Whoever changes a table needs nothing: the triggers write with the owner's rights.

-- Both are sequences because these are read and set outside of transactions. A writer must not wait for who moves on
-- to the next slot; a reader whose snapshot is older than a removal must yet learn of it, or it would find nothing
-- and take that for all there is.
create sequence flowcraft.event_slot as smallint minvalue 0 maxvalue 3;
comment on sequence flowcraft.event_slot is 'The slot that events are written to; see flowcraft.rotate.';
select setval('flowcraft.event_slot', 0);
create sequence flowcraft.event_floor minvalue 0;
comment on sequence flowcraft.event_floor is 'Events of transactions below it have been removed, or are about to be.';
-- Not this transaction's own id: an older one that still runs may yet write an event.
select setval('flowcraft.event_floor', pg_snapshot_xmin(pg_current_snapshot())::text::bigint);

create table flowcraft.event (
    id bigint generated always as identity,
    xid xid8 not null default pg_current_xact_id(),
    slot smallint not null default coalesce(pg_sequence_last_value('flowcraft.event_slot'), 0),
    channel text not null,
    payload text not null
) partition by list (slot);
comment on table flowcraft.event is 'The log: one row per committed event. Append only; read by difference of snapshots.';
-- All there will ever be: nothing has to be created in time, and the last one takes whatever has no slot.
create table flowcraft.event_0 partition of flowcraft.event for values in (0);
create table flowcraft.event_1 partition of flowcraft.event for values in (1);
create table flowcraft.event_2 partition of flowcraft.event for values in (2);
create table flowcraft.event_3 partition of flowcraft.event default;
-- No primary key: nobody looks an event up by its id, and a third index would cost every writer.
create index event_xid on flowcraft.event (xid);
create index event_channel on flowcraft.event (channel, xid);

create table flowcraft.state (
    only_row boolean primary key default true check (only_row),
    system bigint not null,
    generation integer not null default 0
);
comment on table flowcraft.state is
    'system: identifier of the database system that issued the transaction ids in the log. '
    'generation: times the database was found behind what it had delivered.';
insert into flowcraft.state (system) select system_identifier from pg_control_system();

-- emit: state an event on a channel, in the caller's transaction.
create function flowcraft.broadcast(channel text, payload json) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform flowcraft.check_channel(broadcast.channel);
    if broadcast.payload is null then
        raise exception 'event on channel % has no payload', broadcast.channel using errcode = 'null_value_not_allowed';
    end if;
    if octet_length(broadcast.payload::text) > 262144 then
        raise exception 'event on channel % has % bytes of JSON; at most 262144 fit into one event',
            broadcast.channel, octet_length(broadcast.payload::text) using errcode = 'program_limit_exceeded';
    end if;
    -- First the row, so that this transaction has its id; then the bell: see flowcraft.wake.
    insert into flowcraft.event (channel, payload) values (broadcast.channel, broadcast.payload::text);
    perform flowcraft.wake();
end $$;

-- announce: tell whoever is there now, when this transaction commits; nothing is kept.
create function flowcraft.broadcast_ephemeral(channel text, payload json) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    message text := '{"channel":"' || broadcast_ephemeral.channel || '","payload":' || broadcast_ephemeral.payload || '}';
begin
    perform flowcraft.check_channel(broadcast_ephemeral.channel);
    if message is null then
        raise exception 'event on channel % has no payload', broadcast_ephemeral.channel using errcode = 'null_value_not_allowed';
    end if;
    if octet_length(message) > 7900 then
        raise exception 'ephemeral event on channel % has % bytes; PostgreSQL carries at most 7900 in one notification',
            broadcast_ephemeral.channel, octet_length(message)
            using errcode = 'program_limit_exceeded', hint = 'send less, or declare the channel durable';
    end if;
    -- A full queue fails the commits of everybody who notifies; what may be lost is lost before that.
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('flowcraft_ephemeral', message);
    end if;
end $$;

-- check_channel: refuse a name outside the grammar.
create function flowcraft.check_channel(name text) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if name is null or name collate "C" !~ '^[a-z][a-z0-9_]{0,47}(\.[A-Za-z0-9_-]{1,64})?$' then
        raise exception 'channel name % is not of the form <entity>_update, <entity>.<id>, system or dashboard',
                coalesce(quote_literal(left(name, 64)), 'null')
            using errcode = 'invalid_parameter_value',
                detail = 'Lower case, digits and _ before the dot; letters, digits, _ and - after it.';
    end if;
end $$;

-- ring: the writer's side of the doorbell. Call it after the rows are written.
--
-- A busy reader holds lock 1 and comes by itself; readers that are there at all share lock 2. Only if lock 1 is free and
-- lock 2 is not, there is a NOTIFY. This transaction has its id by now, so a reader that lets go after we found lock 1
-- held, or arrives after we found nobody, waits for us: see core/wakeup.py.
create function flowcraft.wake() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    -- In one expression each: between two statements a cancellation could leave the lock behind.
    nobody_awake boolean := case when pg_try_advisory_lock_shared(1718382455, 1)
        then pg_advisory_unlock_shared(1718382455, 1) else false end;
    nobody_there boolean := nobody_awake and case when pg_try_advisory_lock(1718382455, 2)
        then pg_advisory_unlock(1718382455, 2) else false end;
begin
    -- An event that was delivered must not be lost in a crash, and its id not be issued again.
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'local', true);
    end if;
    -- A full queue fails the commits of everybody who notifies.
    if nobody_awake and not nobody_there and pg_notification_queue_usage() < 0.5 then
        perform pg_notify('flowcraft_wakeup', '');
    end if;
end $$;

-- shown: the transaction ids above `after` that the caller's snapshot shows, as open intervals.
--
-- Between the intervals lie the running ones. To look them up would walk over every row they have written so far,
-- on each read, for as long as they run.
create function flowcraft.shown(after xid8) returns table (above xid8, below xid8)
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
create function flowcraft.floor() returns xid8
language plpgsql volatile parallel restricted set search_path = pg_catalog, pg_temp as $$
begin
    return pg_sequence_last_value('flowcraft.event_floor')::text::xid8;
end $$;

-- position: where the log stands in the caller's snapshot.
create function flowcraft.position(
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
    -- Not from the control file: that lags behind a promotion.
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
    -- Last: what was removed before we looked for the newest one is then below it.
    floor := flowcraft.floor();
end $$;

-- difference: the events that the caller's snapshot shows and the snapshot `xmax:xip` did not. At most about `most`.
-- RT002: some of these have been removed.
create function flowcraft.difference(after_xmax xid8, after_xip xid8[], channels text[], most bigint)
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

-- cursor: the position of the caller's snapshot, as clients get it. Read it in the statement that reads the state,
-- or in one REPEATABLE READ transaction with it. Events of the caller's own transaction lie before it.
create function flowcraft.cursor() returns text language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
    here record := flowcraft.position();
    own xid8 := pg_current_xact_id_if_assigned();
    -- The floor may lie beyond an old snapshot.
    xmax xid8 := least(greatest((here.newest::text::bigint + 1)::text::xid8, here.floor), pg_snapshot_xmax(here.snapshot));
    running xid8[] := array(select x from pg_snapshot_xip(here.snapshot) as x);
begin
    if own >= pg_snapshot_xmax(here.snapshot) then
        if exists (select from flowcraft.event as e where e.xid = own) then
            xmax := (own::text::bigint + 1)::text::xid8;
            -- The snapshot does not list what began after it; only our own is shown of these.
            running := running || array(
                select x::text::xid8
                from generate_series(pg_snapshot_xmax(here.snapshot)::text::bigint, own::text::bigint - 1) as x
            );
        end if;
    end if;
    return format('%s/%s.%s/%s:%s', here.system, here.timeline, here.generation, xmax,
        (select string_agg(x::text, ',' order by x) from unnest(running) as x where x < xmax));
end $$;

-- renew: begin a new generation after a cursor of `last` was found ahead of this database; once for all who found it.
create function flowcraft.renew(last integer) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update flowcraft.state set generation = last + 1 where generation <= last
$$;

revoke all on all functions in schema flowcraft from public;

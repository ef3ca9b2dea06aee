-- What a development version installed: the statements of its migrations, without their comments, and a trigger that it
-- made for the channel run_update on public.runs. Its functions are emit, announce and ring; no migration has a hash.

do $$
begin
    if to_regnamespace('flowcraft') is null then
        create schema flowcraft;
    end if;
    if to_regclass('flowcraft.migration') is null then
        create table flowcraft.migration (
            version integer primary key,
            name text not null,
            applied_at timestamptz not null default now()
        );
    end if;
    if current_setting('lock_timeout') = '0' then
        perform set_config('lock_timeout', '5s', true);
    end if;
end $$;

create sequence flowcraft.event_slot as smallint minvalue 0 maxvalue 3;
comment on sequence flowcraft.event_slot is 'The slot that events are written to; see flowcraft.rotate.';
select setval('flowcraft.event_slot', 0);
create sequence flowcraft.event_floor minvalue 0;
comment on sequence flowcraft.event_floor is 'Events of transactions below it have been removed, or are about to be.';
select setval('flowcraft.event_floor', pg_snapshot_xmin(pg_current_snapshot())::text::bigint);

create table flowcraft.event (
    id bigint generated always as identity,
    xid xid8 not null default pg_current_xact_id(),
    slot smallint not null default coalesce(pg_sequence_last_value('flowcraft.event_slot'), 0),
    channel text not null,
    payload text not null
) partition by list (slot);
comment on table flowcraft.event is 'The log: one row per committed event. Append only; read by difference of snapshots.';
create table flowcraft.event_0 partition of flowcraft.event for values in (0);
create table flowcraft.event_1 partition of flowcraft.event for values in (1);
create table flowcraft.event_2 partition of flowcraft.event for values in (2);
create table flowcraft.event_3 partition of flowcraft.event default;
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

create function flowcraft.emit(channel text, payload json) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform flowcraft.check_channel(emit.channel);
    if emit.payload is null then
        raise exception 'event on channel % has no payload', emit.channel using errcode = 'null_value_not_allowed';
    end if;
    if octet_length(emit.payload::text) > 262144 then
        raise exception 'event on channel % has % bytes of JSON; at most 262144 fit into one event',
            emit.channel, octet_length(emit.payload::text) using errcode = 'program_limit_exceeded';
    end if;
    insert into flowcraft.event (channel, payload) values (emit.channel, emit.payload::text);
    perform flowcraft.ring();
end $$;

create function flowcraft.announce(channel text, payload json) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    message text := '{"channel":"' || announce.channel || '","payload":' || announce.payload || '}';
begin
    perform flowcraft.check_channel(announce.channel);
    if message is null then
        raise exception 'event on channel % has no payload', announce.channel using errcode = 'null_value_not_allowed';
    end if;
    if octet_length(message) > 7900 then
        raise exception 'ephemeral event on channel % has % bytes; PostgreSQL carries at most 7900 in one notification',
            announce.channel, octet_length(message)
            using errcode = 'program_limit_exceeded', hint = 'send less, or declare the channel durable';
    end if;
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('flowcraft_ephemeral', message);
    end if;
end $$;

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

create function flowcraft.ring() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    nobody_awake boolean := case when pg_try_advisory_lock_shared(1718382455, 1)
        then pg_advisory_unlock_shared(1718382455, 1) else false end;
    nobody_there boolean := nobody_awake and case when pg_try_advisory_lock(1718382455, 2)
        then pg_advisory_unlock(1718382455, 2) else false end;
begin
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'local', true);
    end if;
    if nobody_awake and not nobody_there and pg_notification_queue_usage() < 0.5 then
        perform pg_notify('flowcraft_wakeup', '');
    end if;
end $$;

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

create function flowcraft.floor() returns xid8
language plpgsql volatile parallel restricted set search_path = pg_catalog, pg_temp as $$
begin
    return pg_sequence_last_value('flowcraft.event_floor')::text::xid8;
end $$;

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
    floor := flowcraft.floor();
end $$;

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
    if flowcraft.floor() > (select least(after_xmax, min(x::text::bigint)::text::xid8) from unnest(after_xip) as x) then
        raise exception 'the log no longer reaches back to %:%', after_xmax, array_to_string(after_xip, ',')
            using errcode = 'RT002';
    end if;
end $$;

create function flowcraft.cursor() returns text language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
    here record := flowcraft.position();
    own xid8 := pg_current_xact_id_if_assigned();
    xmax xid8 := least(greatest((here.newest::text::bigint + 1)::text::xid8, here.floor), pg_snapshot_xmax(here.snapshot));
    running xid8[] := array(select x from pg_snapshot_xip(here.snapshot) as x);
begin
    if own >= pg_snapshot_xmax(here.snapshot) then
        if exists (select from flowcraft.event as e where e.xid = own) then
            xmax := (own::text::bigint + 1)::text::xid8;
            running := running || array(
                select x::text::xid8
                from generate_series(pg_snapshot_xmax(here.snapshot)::text::bigint, own::text::bigint - 1) as x
            );
        end if;
    end if;
    return format('%s/%s.%s/%s:%s', here.system, here.timeline, here.generation, xmax,
        (select string_agg(x::text, ',' order by x) from unnest(running) as x where x < xmax));
end $$;

create function flowcraft.renew(last integer) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update flowcraft.state set generation = last + 1 where generation <= last
$$;

revoke all on all functions in schema flowcraft from public;
insert into flowcraft.migration (version, name) values (1, '0001_log');

create table flowcraft.slot (
    slot smallint primary key,
    opened_at timestamptz,
    settled_at timestamptz,
    newest xid8
);
comment on table flowcraft.slot is
    'What flowcraft.rotate remembers of each part of the log. '
    'opened_at: when events were first written to it; null if none are now. '
    'settled_at: since when all transactions that wrote to it, and all before the newest of these, have finished. '
    'newest: that transaction.';
insert into flowcraft.slot (slot, opened_at)
select s, case when s = 0 then clock_timestamp() end from generate_series(0, 3) as s;

create function flowcraft.raise_floor(newest xid8) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if newest >= flowcraft.floor() then
        perform setval('flowcraft.event_floor', newest::text::bigint + 1);
    end if;
end $$;

create function flowcraft.trim(before xid8) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    removed bigint;
    newest xid8;
begin
    perform pg_advisory_xact_lock(1718382455, 4);
    newest := (
        select e.xid from flowcraft.event as e
        where e.xid < least(before, pg_snapshot_xmin(pg_current_snapshot())) order by e.xid desc limit 1
    );
    if newest is null then
        return 0;
    end if;
    perform flowcraft.raise_floor(newest);
    delete from flowcraft.event where xid <= newest;
    get diagnostics removed = row_count;
    return removed;
end $$;

create function flowcraft.purge(channel text, dry_run boolean default false) returns bigint
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
    elsif purge.channel is null then
        perform pg_advisory_xact_lock(1718382455, 4);
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

create sequence flowcraft.event_purges;
create function flowcraft.purges() returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    return coalesce(pg_sequence_last_value('flowcraft.event_purges'), 0);
end $$;

create function flowcraft.rotate(keep interval, at timestamptz default clock_timestamp()) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10ms' as $$
declare
    writing smallint := pg_sequence_last_value('flowcraft.event_slot');
    done text[] := '{}';
begin
    if keep <= '0' then
        raise exception 'events are kept for a positive time, not for %', keep using errcode = 'invalid_parameter_value';
    end if;
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'the log is rotated in a transaction of its own, at read committed'
            using errcode = 'invalid_transaction_state',
                detail = 'What commits while it waits for a lock must be seen.';
    end if;
    if not pg_try_advisory_xact_lock(1718382455, 4) then
        return null;
    end if;
    update flowcraft.slot as s
    set opened_at = case when s.slot = writing then least(s.opened_at, at) end,
        settled_at = case when s.settled_at > at then at else s.settled_at end
    where s.settled_at > at or (s.slot = writing) <> coalesce(s.opened_at <= at, false);
    done := done || flowcraft.settle(writing, at) || flowcraft.open_next(writing, keep, at);
    done := done || flowcraft.empty_oldest(keep, at);
    return nullif(array_to_string(done, '; '), '');
end $$;

create function flowcraft.settle(writing smallint, at timestamptz) returns text[]
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    closed smallint;
    last xid8;
    done text[] := '{}';
begin
    for closed in select s.slot from flowcraft.slot as s where s.slot <> writing and s.settled_at is null loop
        if pg_relation_size(flowcraft.table_of(closed)) > 0 then
            last := flowcraft.newest_of(closed);
            if coalesce(last < pg_snapshot_xmin(pg_current_snapshot()), true) then
                update flowcraft.slot as s set settled_at = at, newest = last where s.slot = closed;
                done := done || format('event_%s has settled', closed);
            end if;
        end if;
    end loop;
    return done;
end $$;

create function flowcraft.open_next(writing smallint, keep interval, at timestamptz) returns text[]
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    next smallint := (writing + 1) % 4;
begin
    if at < (select s.opened_at from flowcraft.slot as s where s.slot = writing) + keep / 2 then
        return '{}';
    end if;
    if pg_relation_size(flowcraft.table_of(next)) > 0 then
        return array[format('event_%s is not empty yet, events are kept for longer', next)];
    end if;
    perform setval('flowcraft.event_slot', next);
    update flowcraft.slot as s
    set opened_at = case when s.slot = next then at end, settled_at = null, newest = null
    where s.slot in (writing, next);
    return array[format('opened event_%s', next)];
end $$;

create function flowcraft.empty_oldest(keep interval, at timestamptz) returns text[]
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    oldest record;
    late xid8;
begin
    select s.slot, s.newest into oldest from flowcraft.slot as s
    where s.opened_at is null and s.settled_at <= at - keep order by s.settled_at, s.newest limit 1;
    if oldest is null then
        return '{}';
    end if;
    execute format('lock table %s in access exclusive mode', flowcraft.table_of(oldest.slot));
    late := flowcraft.newest_of(oldest.slot);
    update flowcraft.slot as s set settled_at = null, newest = null where s.slot = oldest.slot;
    if coalesce(late > oldest.newest, late is not null) then
        return '{}';
    end if;
    if oldest.newest is not null then
        perform flowcraft.raise_floor(oldest.newest);
    end if;
    execute format('truncate only %s', flowcraft.table_of(oldest.slot));
    return array[format('emptied event_%s', oldest.slot)];
exception when lock_not_available then
    return array[format('event_%s is in use, not emptied yet', oldest.slot)];
end $$;

create function flowcraft.table_of(slot smallint) returns regclass
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return format('flowcraft.event_%s', slot)::regclass;
end $$;

create function flowcraft.newest_of(slot smallint) returns xid8
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    newest xid8;
begin
    execute format('select e.xid from %s as e order by e.xid desc limit 1', flowcraft.table_of(slot)) into newest;
    return newest;
end $$;

revoke all on all functions in schema flowcraft from public;
insert into flowcraft.migration (version, name) values (2, '0002_retention');
alter table flowcraft.event add column stated_at timestamptz, add column trace text;
alter table flowcraft.event alter column stated_at set default statement_timestamp();
alter table flowcraft.event alter column trace set default current_setting('flowcraft.traceparent', true);
comment on column flowcraft.event.stated_at is
    'When the statement began that stated the event: not after its commit. Null: before this column was there.';
comment on column flowcraft.event.trace is
    'W3C traceparent of whoever stated the event, from the setting flowcraft.traceparent of the transaction; else null or empty.';
insert into flowcraft.migration (version, name) values (3, '0003_telemetry');

create table public.runs (id integer primary key, status text);
CREATE OR REPLACE FUNCTION flowcraft.run_update_4d319d90()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    insert into flowcraft.event (channel, payload)
    select 'run_update', row_to_json(r)::text from flowcraft_rows as n cross join lateral (select 'RunUpdate'::text as type, n.id as id, n.status::text as status) as r;
    if found then
        perform flowcraft.ring();
    end if;
    return null;
end $function$;
revoke all on function flowcraft.run_update_4d319d90() from public;
comment on function flowcraft.run_update_4d319d90() is 'flowcraft:1575447a3a7e2dfc0ec3e793892ecb5c';
CREATE TRIGGER flowcraft_4d319d90_insert AFTER INSERT ON public.runs REFERENCING NEW TABLE AS flowcraft_rows FOR EACH STATEMENT EXECUTE FUNCTION flowcraft.run_update_4d319d90();
CREATE TRIGGER flowcraft_4d319d90_update AFTER UPDATE ON public.runs REFERENCING NEW TABLE AS flowcraft_rows FOR EACH STATEMENT EXECUTE FUNCTION flowcraft.run_update_4d319d90();

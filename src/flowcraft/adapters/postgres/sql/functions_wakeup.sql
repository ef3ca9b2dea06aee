-- functions_wakeup: how writers notify readers. Each is replaced in place, and keeps its grants.

-- may_notify: whether a transaction may NOTIFY. PostgreSQL refuses to PREPARE a transaction that did, and none can be asked
-- beforehand whether it will. So where transactions can be prepared at all, only a role that never does so notifies:
-- alter role app set flowcraft.notify = 'on'
create or replace function flowcraft.may_notify() returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return current_setting('max_prepared_transactions') = '0'
        or coalesce(lower(current_setting('flowcraft.notify', true)) in ('on', 'true', 'yes', '1'), false);
end $$;

-- broadcast_ephemeral: deliver an event to the present subscribers when this transaction commits, and do not keep it.
--
-- A transaction that may not notify puts the event into the log: it arrives with the next read, and is kept as long as others.
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
    if not flowcraft.may_notify() then
        perform flowcraft.broadcast(broadcast_ephemeral.channel, broadcast_ephemeral.payload);
    -- A full queue (8 GB) fails every commit that notifies. At half of it, events that may be lost are dropped instead.
    elsif pg_notification_queue_usage() < 0.5 then
        perform pg_notify('flowcraft_ephemeral', message);
    end if;
end $$;

-- check_channel: refuse a name outside the grammar. No backslash: it means something else where standard_conforming_strings
-- is off.
create or replace function flowcraft.check_channel(name text) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if name is null or name collate "C" !~ '^[a-z][a-z0-9_]{0,47}([.][A-Za-z0-9_-]{1,64})?$' then
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
    no_leader boolean;
    no_readers boolean;
begin
    -- An event that was delivered must not be lost in a crash, and its id not be issued again.
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'local', true);
    end if;
    if not flowcraft.may_notify() then
        return;
    end if;
    -- 0x666c6f77, "flow": the class of our advisory locks; 1 leader, 2 readers, 3 migrate, 4 rotate.
    -- In one expression each: between two statements a cancellation could leave the lock behind.
    no_leader := case when pg_try_advisory_lock_shared(:lock_class, :leader_lock)
        then pg_advisory_unlock_shared(:lock_class, :leader_lock) else false end;
    no_readers := no_leader and case when pg_try_advisory_lock(:lock_class, :readers_lock)
        then pg_advisory_unlock(:lock_class, :readers_lock) else false end;
    -- A full queue (8 GB) fails every commit that notifies; without the wakeup, readers poll.
    if no_leader and not no_readers and pg_notification_queue_usage() < 0.5 then
        perform pg_notify('flowcraft_wakeup', '');
    end if;
end $$;

revoke all on function flowcraft.may_notify() from public;

-- functions_publish: what a writer calls for each event. Each is replaced in place, and keeps its grants.
--
-- A further call of a function with settings takes 2 to 8 microseconds, as long as the row itself: it is made where it is needed.

-- broadcast: put an event on a channel, in the caller's transaction.
create or replace function flowcraft.broadcast(channel text, payload json) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    content text := broadcast.payload;
begin
    -- Of short names, which are nearly all. With bounds in the pattern the match takes ten times as long; an error needs them.
    if broadcast.channel collate "C" ~ '^[a-z][a-z0-9_]*([.][A-Za-z0-9_-]+)?$' and octet_length(broadcast.channel) <= 48 then
        null;
    else
        perform flowcraft.check_channel(broadcast.channel);
    end if;
    if content is null then
        raise exception 'event on channel % has no payload', broadcast.channel using errcode = 'null_value_not_allowed';
    end if;
    -- 256 KiB: a whole transaction is read into a server's memory, and every subscriber may be sent a copy.
    if octet_length(content) > 262144 then
        raise exception 'event on channel % has % bytes of JSON; at most 262144 fit into one event',
            broadcast.channel, octet_length(content) using errcode = 'program_limit_exceeded';
    end if;
    -- First the row, so that this transaction has its id; then the wakeup: see flowcraft.wake.
    insert into flowcraft.event (channel, payload) values (broadcast.channel, content);
    perform flowcraft.wake();
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
    if current_setting('max_prepared_transactions') <> '0' and not flowcraft.may_notify() then
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

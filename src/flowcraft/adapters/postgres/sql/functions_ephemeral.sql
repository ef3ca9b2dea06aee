-- functions_ephemeral: events that a NOTIFY carries. Each is replaced in place, and keeps its grants.

-- ephemeral_check: the check value of a message: the first half of an HMAC with SHA-256, in hexadecimal.
create or replace function flowcraft.ephemeral_check(message text) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    key record;
begin
    select * into key from flowcraft.ephemeral_key;
    if not found then
        raise exception 'the log has no key for ephemeral events' using errcode = 'object_not_in_prerequisite_state',
            hint = 'run `flowcraft migrate`';
    end if;
    return left(encode(sha256(key.outer_key || sha256(key.inner_key || convert_to(message, 'utf8'))), 'hex'), 32);
end $$;

-- ephemeral_key: what a server checks ephemeral events with, and the number of the newest.
create or replace function flowcraft.ephemeral_key(out inner_key bytea, out outer_key bytea, out newest bigint)
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select k.inner_key, k.outer_key, coalesce(pg_sequence_last_value('flowcraft.ephemeral_number'), 0) from flowcraft.ephemeral_key as k
$$;

-- broadcast_ephemeral: deliver an event to the present subscribers when this transaction commits, and do not keep it.
--
-- A transaction that may not notify puts the event into the log: it arrives with the next read, and is kept as long as others.
create or replace function flowcraft.broadcast_ephemeral(channel text, payload json) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    message text := '{"channel":"' || broadcast_ephemeral.channel || '","payload":' || broadcast_ephemeral.payload;
begin
    perform flowcraft.check_channel(broadcast_ephemeral.channel);
    if message is null then
        raise exception 'event on channel % has no payload', broadcast_ephemeral.channel using errcode = 'null_value_not_allowed';
    end if;
    -- PostgreSQL refuses a notification of 8,000 bytes or more; number and check value take at most 70.
    if octet_length(message) >= 7900 then
        raise exception 'ephemeral event on channel % has % bytes; PostgreSQL carries at most 7900 in one notification',
            broadcast_ephemeral.channel, octet_length(message) + 1
            using errcode = 'program_limit_exceeded', hint = 'send less, or declare the channel durable';
    end if;
    if not flowcraft.may_notify() then
        perform flowcraft.broadcast(broadcast_ephemeral.channel, broadcast_ephemeral.payload);
    -- A full queue (8 GB) fails every commit that notifies. At half of it, events that may be lost are dropped instead.
    elsif pg_notification_queue_usage() < 0.5 then
        message := message || ',"n":' || nextval('flowcraft.ephemeral_number');
        perform pg_notify('flowcraft_ephemeral', message || ',"check":"' || flowcraft.ephemeral_check(message) || '"}');
    end if;
end $$;

revoke all on function flowcraft.ephemeral_check(text), flowcraft.ephemeral_key() from public;

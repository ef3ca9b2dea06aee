-- functions_rights: end rights to channels in commit order. Each is replaced in place, and keeps its grants.

-- withdraw: the record of a withdrawal, in the caller's transaction.
create or replace function flowcraft.withdraw(viewer text, channel text, ask boolean) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    if withdraw.channel is not null and withdraw.channel !~ '^[a-z][a-z0-9_]{0,47}\.\*$' then
        perform flowcraft.check_channel(withdraw.channel);
    end if;
    if octet_length(withdraw.viewer) > 16384 then
        raise exception 'the viewer has % bytes; a token has room for 16384', octet_length(withdraw.viewer)
            using errcode = 'program_limit_exceeded';
    end if;
    insert into flowcraft.event (channel, payload, kind)
        values ('*', json_build_object('viewer', withdraw.viewer, 'channel', withdraw.channel, 'ask', withdraw.ask)::text, 'w');
    perform flowcraft.wake();
end $$;

-- revoke: end the subscriptions of a viewer to a channel, in the caller's transaction. Nothing that commits with it or
-- after it is delivered to that viewer. Without a channel: all of them; 'teams.*' is a family. Without a viewer: of all.
create or replace function flowcraft.revoke(viewer text, channel text default null) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select flowcraft.withdraw(revoke.viewer, revoke.channel, false)
$$;

-- ask_again: hold back what the subscriptions of a viewer would be sent, until their guards have answered again.
create or replace function flowcraft.ask_again(viewer text, channel text default null) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select flowcraft.withdraw(ask_again.viewer, ask_again.channel, true)
$$;

revoke all on function flowcraft.withdraw(text, text, boolean), flowcraft.revoke(text, text), flowcraft.ask_again(text, text)
    from public;

-- 0002: what removes events from the log: the window that slides on, and the orders to remove some now.

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

-- raise_floor: let every reader know, before it happens, that the events of `newest` and older ones are removed.
create function flowcraft.raise_floor(newest xid8) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if newest >= flowcraft.floor() then
        perform setval('flowcraft.event_floor', newest::text::bigint + 1);
    end if;
end $$;

-- trim: remove the events of transactions below `before`, as far as these have all finished; return how many.
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

-- purge: remove the events of a channel, of a family (`runs.*`), or all (null); return how many there are or were.
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
        -- Not beyond the oldest transaction that runs: what it writes is yet to be delivered.
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

-- purges: how often events were removed that are not older than the floor. A reader that misses one asks.
create sequence flowcraft.event_purges;
create function flowcraft.purges() returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    return coalesce(pg_sequence_last_value('flowcraft.event_purges'), 0);
end $$;

-- rotate: keep the log to about the last `keep`. Call it often; return what was done, null if nothing was.
--
-- Every half of `keep` the events go to the next of four slots, if that is empty. A slot that is no longer written to
-- settles when its transactions, and all that began before the newest of them, have finished; `keep` after that it is
-- emptied as a whole. So a cursor lives for `keep` at least, and for longer where a transaction runs for longer.
-- What stands in the way of a removal is waited for up to 10 ms, and tried again by the next call.
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
    -- After a clock that went back, count anew; the slot is not part of this transaction, and may have moved without it.
    update flowcraft.slot as s
    set opened_at = case when s.slot = writing then least(s.opened_at, at) end,
        settled_at = case when s.settled_at > at then at else s.settled_at end
    where s.settled_at > at or (s.slot = writing) <> coalesce(s.opened_at <= at, false);
    done := done || flowcraft.settle(writing, at) || flowcraft.open_next(writing, keep, at);
    -- Last: from here to the end of the transaction readers wait.
    done := done || flowcraft.empty_oldest(keep, at);
    return nullif(array_to_string(done, '; '), '');
end $$;

-- settle: of slots that are no longer written to, note those whose transactions have all finished. One that is newer
-- than all that have committed, and still runs, is noticed later, by `empty_oldest`.
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

-- open_next: let events go to the next slot, if it is time and that is empty.
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

-- empty_oldest: remove the events of one slot that settled more than `keep` ago.
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
    -- Somebody wrote here before the slot was closed and committed after it had settled: it settles anew.
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

-- table_of: the table of a slot.
create function flowcraft.table_of(slot smallint) returns regclass
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return format('flowcraft.event_%s', slot)::regclass;
end $$;

-- newest_of: the newest transaction that has committed an event to a slot.
create function flowcraft.newest_of(slot smallint) returns xid8
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    newest xid8;
begin
    execute format('select e.xid from %s as e order by e.xid desc limit 1', flowcraft.table_of(slot)) into newest;
    return newest;
end $$;

revoke all on all functions in schema flowcraft from public;

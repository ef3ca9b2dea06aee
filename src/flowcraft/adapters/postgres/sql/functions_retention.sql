-- functions_retention: what removes events. Each function is replaced in place, and keeps its grants.

-- raise_floor: show every reader, before it happens, that the events of `newest` and older transactions are removed.
create or replace function flowcraft.raise_floor(newest xid8) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if newest >= flowcraft.floor() then
        perform setval('flowcraft.event_floor', newest::text::bigint + 1);
    end if;
end $$;

-- trim: remove the events of transactions below `before`, as far as all of these have finished; return how many.
create or replace function flowcraft.trim(before xid8) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    removed bigint;
    newest xid8;
begin
    perform pg_advisory_xact_lock(:lock_class, :rotate_lock);
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
    elsif purge.channel is null then
        perform pg_advisory_xact_lock(:lock_class, :rotate_lock);
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

-- purges: how often events were removed that are not older than the floor. A reader that misses an event compares this
-- number with the one it knows: an event that was purged is not lost.
create or replace function flowcraft.purges() returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    return coalesce(pg_sequence_last_value('flowcraft.event_purges'), 0);
end $$;

-- rotate: keep the log to about the last `keep`. Call it often; return what was done, null if nothing was.
--
-- Every half of `keep` the events go to the next of four slots, if that is empty. A slot that is no longer written to
-- settles when its transactions, and all that began before the newest of them, have finished; `keep` after that it is
-- emptied as a whole. So a cursor lives for `keep` at least, and for longer where a transaction runs for longer.
-- A removal waits for a lock for up to 10 ms (writers wait behind it for as long), and is tried again by the next call.
create or replace function flowcraft.rotate(keep interval, at timestamptz default clock_timestamp()) returns text
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
    if not pg_try_advisory_xact_lock(:lock_class, :rotate_lock) then
        return null;
    end if;
    -- If the clock was set back, the time counts from now; the sequence is not part of this transaction, and may have moved
    -- on although the transaction that moved it was rolled back.
    update flowcraft.slot as s
    set opened_at = case when s.slot = writing then least(s.opened_at, at) end,
        settled_at = case when s.settled_at > at then at else s.settled_at end
    where s.settled_at > at or (s.slot = writing) <> coalesce(s.opened_at <= at, false);
    done := done || flowcraft.settle(writing, at) || flowcraft.open_next(writing, keep, at);
    -- Last: readers wait from here to the end of the transaction.
    done := done || flowcraft.empty_oldest(keep, at);
    return nullif(array_to_string(done, '; '), '');
end $$;

-- settle: of the slots that are no longer written to, record those whose transactions have all finished. A transaction that
-- still runs and is newer than all that have committed is found later, by `empty_oldest`.
create or replace function flowcraft.settle(writing smallint, at timestamptz) returns text[]
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

-- open_next: write events to the next slot, if it is time and that slot is empty.
create or replace function flowcraft.open_next(writing smallint, keep interval, at timestamptz) returns text[]
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
create or replace function flowcraft.empty_oldest(keep interval, at timestamptz) returns text[]
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
    -- A transaction wrote to the slot before it was closed, and committed after it had settled: the slot settles again.
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
create or replace function flowcraft.table_of(slot smallint) returns regclass
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return format('flowcraft.event_%s', slot)::regclass;
end $$;

-- newest_of: the newest transaction that has committed an event to a slot.
create or replace function flowcraft.newest_of(slot smallint) returns xid8
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    newest xid8;
begin
    execute format('select e.xid from %s as e order by e.xid desc limit 1', flowcraft.table_of(slot)) into newest;
    return newest;
end $$;

revoke all on all functions in schema flowcraft from public;

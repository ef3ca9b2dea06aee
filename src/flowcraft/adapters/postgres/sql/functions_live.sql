-- functions_live: what a message passes: what a writer calls for each event, and what a server reads. Each is replaced in place,
-- and keeps its grants.
--
-- Of a commit with one event, half a microsecond goes to each expression, which is prepared in each transaction, and 2 to 8 to each
-- call of a function with settings: as long as the row itself. So what is rare stands inside an `if`, where it is not prepared.

-- broadcast: put an event on a channel, in the caller's transaction.
create or replace function flowcraft.broadcast(channel text, payload json) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Of short names, which are nearly all. With bounds in the pattern the match takes ten times as long; an error needs them.
    if (
        broadcast.channel collate "C" ~ '^[a-z][a-z0-9_]*([.][A-Za-z0-9_-]+)?$' and octet_length(broadcast.channel) <= 48
        and octet_length(broadcast.payload::text) <= 262144
    ) is not true then
        perform flowcraft.check_channel(broadcast.channel);
        if broadcast.payload is null then
            raise exception 'event on channel % has no payload', broadcast.channel using errcode = 'null_value_not_allowed';
        end if;
        -- 256 KiB: a whole transaction is read into a server's memory, and every subscriber may be sent a copy.
        if octet_length(broadcast.payload::text) > 262144 then
            raise exception 'event on channel % has % bytes of JSON; at most 262144 fit into one event',
                broadcast.channel, octet_length(broadcast.payload::text) using errcode = 'program_limit_exceeded';
        end if;
    end if;
    -- First the row, so that this transaction has its id; then the wakeup, where flowcraft.wake would do anything.
    insert into flowcraft.event (channel, payload) values (broadcast.channel, broadcast.payload::text);
    if (case
        when current_setting('synchronous_commit') = 'off' then true
        when pg_try_advisory_lock(:lock_class, :readers_lock) then not pg_advisory_unlock(:lock_class, :readers_lock)
        when pg_try_advisory_lock_shared(:lock_class, :leader_lock) then pg_advisory_unlock_shared(:lock_class, :leader_lock)
        else false
    end) then
        perform flowcraft.wake();
    end if;
end $$;

-- wake: the writer's side of the wakeup. Call it after the rows are written.
--
-- All connected readers share the readers lock. A reader that is busy, the leader, holds the leader lock and reads again without a
-- wakeup. A NOTIFY is sent only if there are readers and none of them is the leader. This transaction has its id by now, so a
-- reader that connects after this function found none, and a leader that unlocks after this function found it, see this
-- transaction running and wait for its end: see core/wakeup.py. Each of the two is reason enough, so their order does not
-- matter. The readers are first: without them, which is when nothing else takes time, one lock is tried and not two.
create or replace function flowcraft.wake() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- An event that was delivered must not be lost in a crash, and its id not be issued again.
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'local', true);
    end if;
    -- 0x666c6f77, "flow": the class of our advisory locks; 1 leader, 2 readers, 3 migrate, 4 rotate, 5 first.
    -- In one expression: between two statements a cancellation could leave a lock behind.
    if (case
        when pg_try_advisory_lock(:lock_class, :readers_lock) then not pg_advisory_unlock(:lock_class, :readers_lock)
        when pg_try_advisory_lock_shared(:lock_class, :leader_lock) then pg_advisory_unlock_shared(:lock_class, :leader_lock)
        else false
    end) then
        -- A full queue (8 GB) fails every commit that notifies; without the wakeup, readers poll.
        if flowcraft.may_notify() and pg_notification_queue_usage() < 0.5 then
            perform pg_notify('flowcraft_wakeup', '');
        end if;
    end if;
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
    identifier bigint;
    xmax xid8;
begin
    if pg_is_in_recovery() then
        raise exception 'this server is a standby; the log is read on the primary'
            using errcode = 'read_only_sql_transaction',
                detail = 'The snapshot of a standby does not name the transactions that run on the primary.';
    end if;
    -- The timeline is not from the control file, which lags behind a promotion. The name of a WAL file begins with its
    -- timeline, as 8 hexadecimal digits.
    select s.system, s.generation, d.oid, c.system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer,
        pg_current_snapshot(), pg_snapshot_xmax(pg_current_snapshot()), now()
    into strict reached.system, reached.generation, reached.database, identifier, timeline, snapshot, xmax, at
    from pg_database as d cross join pg_control_system() as c left join flowcraft.state as s on true
    where d.datname = current_database();
    if reached.system is distinct from identifier then
        raise exception 'the log was restored from a dump or upgraded; run `flowcraft migrate`'
            using errcode = 'object_not_in_prerequisite_state',
                detail = 'Its transaction ids are those of another database system.';
    end if;
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

-- changes: the events that the caller's snapshot shows of ranges of transactions, the last of which has no end; of channels, or
-- all (null). At most `most`. RT002: some of these events have been removed.
--
-- PostgreSQL keeps the plans of both queries, also those that it made while the log was small, when all cost the same: a read with
-- another index took 390 ms instead of 0.4 with a million events. So each has one plan only. `offset 0` keeps the bounds inside the
-- join, the order fits the index of transactions alone, the comparison of rows that of channels, and `(select most)` hides the
-- limit, with which each call would be planned. A bitmap would look up all events of a range before the first `most` of them.
create or replace function flowcraft.changes(firsts xid8[], lasts xid8[], channels text[], most bigint)
returns setof flowcraft.event language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
    if channels is null then
        return query
            select e.* from flowcraft.gaps(firsts, lasts) as g cross join lateral (
                select * from flowcraft.event as i where i.xid > g.above and i.xid < g.below order by i.xid offset 0
            ) as e limit (select most);
    else
        return query
            select e.* from flowcraft.gaps(firsts, lasts) as g cross join unnest((select channels)) as c cross join lateral (
                select * from flowcraft.event as i where (i.channel, i.xid) > (c, g.above) and (i.channel, i.xid) < (c, g.below)
                offset 0
            ) as e limit (select most);
    end if;
    -- Last: a table that is emptied looks empty in every snapshot, also in those that are older.
    if flowcraft.floor() > firsts[1] then
        raise exception 'the log no longer reaches back to transaction %', firsts[1] using errcode = 'RT002';
    end if;
end $$;

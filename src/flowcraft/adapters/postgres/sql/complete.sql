-- complete: make a copy of the schema without its rows, or with rows of another log, the log of this database.
--
-- $1: the migrations of this version. `pg_dump --schema-only` leaves tables empty and sequences at their beginning;
-- `--data-only` sets the sequences of a log that has its own. Cursors of before name another database, or none that is valid.
do $flowcraft_complete$
declare
    reached xid8 := pg_snapshot_xmax(pg_current_snapshot());
    oldest bigint := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    versions text;
begin
    perform set_config('flowcraft.completed', 'no', true);
    if to_regclass('flowcraft.event') is null or to_regclass('flowcraft.event_floor') is null then
        return;
    end if;
    if to_regclass('flowcraft.ephemeral_key') is not null then
        insert into flowcraft.ephemeral_key default values on conflict do nothing;
    end if;
    if not exists (select from flowcraft.migration) then
        if to_regprocedure('flowcraft.applied()') is not null then
            execute 'select flowcraft.applied()' into versions;
        end if;
        insert into flowcraft.migration (version, name, hash)
        select o.version, o.name, case when to_regprocedure('flowcraft.announce(text, json)') is null then o.hash end
        from jsonb_to_recordset($1::jsonb) as o(version integer, name text, hash text)
        where case
            when versions is not null then o.version::text = any (string_to_array(versions, ' '))
            -- A copy from before 0006.
            when o.version = 1 then true
            when o.version = 2 then to_regclass('flowcraft.slot') is not null
            when o.version = 3 then exists (
                select from pg_attribute as a where a.attrelid = to_regclass('flowcraft.event') and a.attname = 'trace')
            when o.version = 4 then to_regprocedure('flowcraft.broadcast(text, json)') is not null
            when o.version = 5 then exists (
                select from pg_attribute as a where a.attrelid = to_regclass('flowcraft.event') and a.attname = 'kind')
            else false end;
        truncate flowcraft.event;
        insert into flowcraft.state (system) select system_identifier from pg_control_system() on conflict do nothing;
        if to_regclass('flowcraft.slot') is not null then
            insert into flowcraft.slot (slot, opened_at)
            select s, case when s = 0 then clock_timestamp() end from generate_series(0, 3) as s on conflict do nothing;
        end if;
        perform set_config('flowcraft.completed', 'yes', true);
        perform setval('flowcraft.event_slot', 0), setval('flowcraft.event_floor', oldest);
    -- A log of another system is for `install`, after `verify`.
    elsif exists (select from flowcraft.state as s join pg_control_system() as c on c.system_identifier = s.system) and (coalesce(pg_sequence_last_value('flowcraft.event_floor') > reached::text::bigint, true)
        or exists (select from flowcraft.event where xid >= reached))
    then
        truncate flowcraft.event;
        perform setval('flowcraft.event_floor', oldest);
        perform set_config('flowcraft.completed', 'yes', true);
        update flowcraft.state set generation = generation + 1;
    end if;
end $flowcraft_complete$;

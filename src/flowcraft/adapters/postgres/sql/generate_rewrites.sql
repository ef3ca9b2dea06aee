-- generate_rewrites: functions of this session by which it is known that the values of a table were computed again, without a trigger.

-- flowcraft_storage: what is another after DDL that computes the values of a table again: its file, and the labels of its enums.
--
-- TRUNCATE and VACUUM FULL make new files, too: that pages read the rows once more is all that it costs.
create or replace function pg_temp.flowcraft_storage(place oid) returns text language sql stable as $$
    select 'flowcraft-storage:' || md5(concat_ws(' ', place, pg_relation_filenode(place), (
        select string_agg(e.enumlabel, ' ' order by a.attnum, e.enumsortorder) from pg_attribute as a join pg_enum as e on e.enumtypid = a.atttypid
        where a.attrelid = place and not a.attisdropped)))
$$;

-- flowcraft_declaration: what is another when the declaration of a source is, whatever this library makes of it.
create or replace function pg_temp.flowcraft_declaration(source jsonb) returns text language sql immutable as $$
    select md5(jsonb_build_array(source -> 'table', source -> 'event', source -> 'fields', source -> 'parameter', source -> 'on', source -> 'where')::text)
$$;

-- flowcraft_stored: of each table with triggers of a function, the first one, and its comment: the storage of the table and the declaration.
create or replace function pg_temp.flowcraft_stored(function text) returns table (place oid, trigger name, storage text, owned boolean)
language sql stable as $$
    select distinct on (t.tgrelid) t.tgrelid, t.tgname, obj_description(t.oid, 'pg_trigger'), pg_has_role(c.relowner, 'usage')
    from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid join pg_class as c on c.oid = t.tgrelid
    where p.pronamespace = to_regnamespace('flowcraft') and p.proname = function and t.tgparentid = 0 order by t.tgrelid, t.tgname
$$;

-- flowcraft_changed: whether the storage of a table of a function, or the declaration, is known to be another than at the last migration.
create or replace function pg_temp.flowcraft_changed(source jsonb, function text) returns boolean language sql stable as $$
    select exists (select from pg_temp.flowcraft_stored(function) as s
        where s.storage <> concat_ws(':', pg_temp.flowcraft_storage(s.place), pg_temp.flowcraft_declaration(source)))
$$;

-- flowcraft_store: keep both in comments of triggers, where the role may.
create or replace function pg_temp.flowcraft_store(source jsonb, function text) returns void language plpgsql as $$
declare
    stored record;
begin
    for stored in
        select s.*, concat_ws(':', pg_temp.flowcraft_storage(s.place), pg_temp.flowcraft_declaration(source)) as now
        from pg_temp.flowcraft_stored(function) as s where s.owned
    loop
        if stored.storage is distinct from stored.now then
            execute format('comment on trigger %I on %s is %L', stored.trigger, stored.place::regclass, stored.now);
        end if;
    end loop;
end $$;

-- flowcraft_redeclared: have the clients of a channel load it again, or its guards asked again.
create or replace function pg_temp.flowcraft_redeclared(everywhere text, guards boolean) returns void language plpgsql as $$
begin
    insert into flowcraft.event (kind, channel, payload)
    select 'w'::"char", '*', json_build_object('viewer', null, 'channel', everywhere, 'ask', true)::text where guards
    union all select 'r', everywhere, '{"reason":"redeclared"}' where not guards;
    perform flowcraft.wake();
end $$;

-- flowcraft_rewritten: if the values of a table of a source may have been computed again since the last migration, have its clients load
-- them again, and return that.
create or replace function pg_temp.flowcraft_rewritten(source jsonb, relation regclass, function text) returns text language plpgsql as $$
declare
    changed boolean := pg_temp.flowcraft_changed(source, function);
begin
    perform pg_temp.flowcraft_store(source, function);
    -- What the role may not keep would be found again and again.
    if not changed or pg_temp.flowcraft_changed(source, function) then
        return null;
    end if;
    perform pg_temp.flowcraft_redeclared(pg_temp.flowcraft_everywhere(source), source ->> 'event' = '@guard');
    return format('%s: %s was rewritten or emptied since the last migration; clients load it again', source ->> 'channel', relation);
end $$;

-- flowcraft_follow_rewrites: make the event trigger where the role may.
create or replace function pg_temp.flowcraft_follow_rewrites() returns void language plpgsql as $$
declare
    body text := $body$
declare
    made record;
begin
    -- 2: a default that is computed for each row; 4: a column with new values. Others leave the values as they are.
    if pg_event_trigger_table_rewrite_reason() & 6 = 0 then
        return;
    end if;
    for made in
        select distinct split_part(encode(t.tgargs, 'escape'), e'\\000', 1) as everywhere, p.prosrc like '%-- A guard depends on this table.%' as guards
        from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid
        where t.tgrelid = pg_event_trigger_table_rewrite_oid() and p.pronamespace = 'flowcraft'::regnamespace and t.tgnargs > 0
    loop
        insert into flowcraft.event (kind, channel, payload)
        select 'w'::"char", '*', json_build_object('viewer', null, 'channel', made.everywhere, 'ask', true)::text where made.guards
        union all select 'r', made.everywhere, '{"reason":"redeclared"}' where not made.guards;
        perform flowcraft.wake();
    end loop;
exception
    when others then
        raise warning 'flowcraft: clients keep the values of before (%); run `flowcraft migrate`', sqlerrm;
end $body$;
begin
    if not (select r.rolsuper and n.nspowner = r.oid from pg_roles as r, pg_namespace as n where r.rolname = current_user and n.nspname = 'flowcraft')
        or not exists (select from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid where p.pronamespace = 'flowcraft'::regnamespace)
        or exists (
            select from pg_event_trigger as e join pg_proc as p on p.oid = e.evtfoid
            where e.evtname = 'flowcraft_rewritten' and p.pronamespace = 'flowcraft'::regnamespace and p.prosrc = body)
    then
        return;
    end if;
    execute format('create or replace function flowcraft.follow_rewrites() returns event_trigger language plpgsql security definer '
        'set search_path = pg_catalog, pg_temp set row_security = off as %L', body);
    revoke all on function flowcraft.follow_rewrites() from public;
    drop event trigger if exists flowcraft_rewritten;
    create event trigger flowcraft_rewritten on table_rewrite execute function flowcraft.follow_rewrites();
end $$;

-- generate_partitions: a function of this session that makes the event triggers by which partitions and children that come and go are
-- known. Only a superuser may make these; without them `migrate` covers new ones, and `check` finds them.

-- flowcraft_follow: make the event triggers where the role may, and a table has or can have partitions; return what was done.
--
-- Of the arguments of a trigger the first is the name on which a reset of its channel stands; the second is 'truncate' if it has a
-- trigger for that; a third is for partitions and children.
create or replace function pg_temp.flowcraft_follow() returns text language plpgsql as $$
declare
    body text := $body$
declare
    made record;
    found boolean;
    filled boolean;
    dropped text[];
    -- The names on which a reset stands, and of these the ones whose guards are asked again instead.
    resets text[] := '{}';
    asks text[] := '{}';
begin
    if current_setting('flowcraft.installing', true) = 'on' then
        return;
    end if;
    -- Tables come and go all the time, temporary ones among them: what is none of ours costs a look.
    if tg_event = 'sql_drop' then
        dropped := array(
            select distinct left(d.address_names[3], 18) from pg_event_trigger_dropped_objects() as d
            where d.object_type = 'trigger' and d.address_names[3] like e'flowcraft\\_%\\_%');
        if dropped = '{}' then
            return;
        end if;
        for made in
            select distinct split_part(encode(t.tgargs, 'escape'), e'\\000', 1) as everywhere, p.prosrc like '%-- A guard depends on this table.%' as guards
            from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid and p.pronamespace = 'flowcraft'::regnamespace
            where left(t.tgname, 18) = any (dropped) and t.tgparentid = 0 and t.tgnargs = 2
        loop
            resets := resets || case when made.guards then '{}' else array[made.everywhere] end;
            asks := asks || case when made.guards then array[made.everywhere] else '{}' end;
        end loop;
    else
        found := false;
        for made in
            select d.objid from pg_event_trigger_ddl_commands() as d where d.classid = 'pg_class'::regclass and d.schema_name <> 'pg_temp'
        loop
            found := found or exists (select from pg_inherits as i where i.inhrelid = made.objid)
                or exists (select from pg_trigger as t where t.tgrelid = made.objid and t.tgname like e'flowcraft\\_%');
        end loop;
        if not found then
            return;
        end if;
    end if;
    -- What follows alters tables.
    perform set_config('flowcraft.installing', 'on', true);
    -- Those that have left their table.
    loop
        found := false;
        for made in
            select t.tgname as name, t.tgrelid::regclass as place, c.relkind, split_part(encode(t.tgargs, 'escape'), e'\\000', 1) as everywhere,
                p.prosrc like '%-- A guard depends on this table.%' as guards
            from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid join pg_class as c on c.oid = t.tgrelid
            where p.pronamespace = 'flowcraft'::regnamespace and t.tgparentid = 0 and t.tgnargs = 3 and not exists (
                select from pg_inherits as i join pg_trigger as o on o.tgrelid = i.inhparent and left(o.tgname, 18) = left(t.tgname, 18)
                where i.inhrelid = t.tgrelid)
        loop
            execute format('drop trigger %I on %s', made.name, made.place);
            found := true;
            if made.relkind = 'r' and not made.everywhere = any (case when made.guards then asks else resets end) then
                execute format('select exists (select from only %s)', made.place) into filled;
                resets := resets || case when filled and not made.guards then array[made.everywhere] else '{}' end;
                asks := asks || case when filled and made.guards then array[made.everywhere] else '{}' end;
            end if;
        end loop;
        exit when not found;
    end loop;
    -- Those that have come to it.
    for made in
        with recursive tops as (
            select t.tgrelid as top, p.proname, left(t.tgname, 18) as prefix, split_part(encode(t.tgargs, 'escape'), e'\\000', 1) as everywhere,
                p.prosrc like '%-- A guard depends on this table.%' as guards,
                array_agg(distinct split_part(t.tgname, '_', 3)) || array_agg(distinct split_part(encode(t.tgargs, 'escape'), e'\\000', 2)) as operations
            from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid
            where p.pronamespace = 'flowcraft'::regnamespace and t.tgparentid = 0 and t.tgnargs = 2
            group by 1, 2, 3, 4, 5
        ), tree as (
            select distinct t.top, t.top as place from tops as t
            union select tree.top, c.oid from tree join pg_inherits as i on i.inhparent = tree.place
                join pg_class as c on c.oid = i.inhrelid and c.relkind in ('r', 'p')
        )
        select c.oid::regclass as place, c.relkind, t.proname, t.everywhere, t.guards, o.operation, format('%s_%s', t.prefix, o.operation) as name,
            t.operations @> '{truncate}' as truncates
        from tops as t join tree on tree.top = t.top and tree.place <> t.top join pg_class as c on c.oid = tree.place
        cross join (select distinct unnest(array['insert', 'update', 'delete', 'truncate']) as operation) as o
        where o.operation = any (t.operations) and (o.operation <> 'truncate' or c.relkind = 'r') and not exists (
            select from pg_trigger as present where present.tgrelid = c.oid and present.tgname = format('%s_%s', t.prefix, o.operation))
    loop
        execute format('create trigger %I %s %s on %s%s for each statement execute function flowcraft.%I(%L, %L, ''part'')', made.name,
            case made.operation when 'truncate' then 'before' else 'after' end, made.operation, made.place,
            case made.operation when 'truncate' then '' when 'insert' then ' referencing new table as flowcraft_new'
                when 'delete' then ' referencing old table as flowcraft_old'
                else ' referencing old table as flowcraft_old new table as flowcraft_new' end, made.proname, made.everywhere,
            case when made.truncates then 'truncate' else '' end);
        if made.operation = 'truncate' then
            execute format('alter table %s enable always trigger %I', made.place, made.name);
        elsif made.relkind = 'r' and not exists (select from pg_trigger as t where t.tgrelid = made.place and t.tgname = made.name || '_replica') then
            execute format('create or replace trigger %I after %s on %s for each row execute function flowcraft.%I(%L, %L, ''part'')',
                made.name || '_replica', made.operation, made.place, made.proname, made.everywhere, case when made.truncates then 'truncate' else '' end);
            execute format('alter table %s enable replica trigger %I', made.place, made.name || '_replica');
        end if;
        if made.relkind = 'r' and not made.everywhere = any (case when made.guards then asks else resets end) then
            execute format('select exists (select from only %s)', made.place) into filled;
            resets := resets || case when filled and not made.guards then array[made.everywhere] else '{}' end;
            asks := asks || case when filled and made.guards then array[made.everywhere] else '{}' end;
        end if;
    end loop;
    for made in
        select i.inhrelid::regclass as place, i.inhparent::regclass as parent from pg_inherits as i join pg_class as c on c.oid = i.inhrelid and c.relkind = 'f'
        where exists (select from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid where t.tgrelid = i.inhparent and p.pronamespace = 'flowcraft'::regnamespace)
    loop
        raise warning 'flowcraft: writes to the foreign table % through % will fail, as a channel has % as a source; detach it, or declare '
            'the other parts and run `flowcraft migrate`', made.place, made.parent, made.parent;
    end loop;
    perform set_config('flowcraft.installing', 'off', true);
    if resets <> '{}' or asks <> '{}' then
        insert into flowcraft.event (kind, channel, payload)
        select 'r'::"char", name, '{"reason":"redeclared"}' from unnest(resets) as name
        union all select 'w', '*', json_build_object('viewer', null, 'channel', name, 'ask', true)::text from unnest(asks) as name;
        perform flowcraft.wake();
    end if;
exception
    when others then
        raise warning 'flowcraft: the triggers of partitions do not fit (%); run `flowcraft migrate`', sqlerrm;
end $body$;
begin
    if not (select r.rolsuper and n.nspowner = r.oid from pg_roles as r, pg_namespace as n where r.rolname = current_user and n.nspname = 'flowcraft')
        or not exists (
            select from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid join pg_class as c on c.oid = t.tgrelid
            where p.pronamespace = 'flowcraft'::regnamespace and t.tgnargs = 2
                and (c.relkind = 'p' or exists (select from pg_inherits as i where i.inhparent = c.oid)))
        or exists (
            select from pg_event_trigger as e join pg_proc as p on p.oid = e.evtfoid
            where e.evtname = 'flowcraft_partitions_dropped' and p.pronamespace = 'flowcraft'::regnamespace and p.prosrc = body)
    then
        return null;
    end if;
    execute format('create or replace function flowcraft.follow_partitions() returns event_trigger language plpgsql security definer '
        'set search_path = pg_catalog, pg_temp set row_security = off as %L', body);
    revoke all on function flowcraft.follow_partitions() from public;
    drop event trigger if exists flowcraft_partitions;
    drop event trigger if exists flowcraft_partitions_dropped;
    create event trigger flowcraft_partitions on ddl_command_end when tag in ('CREATE TABLE', 'ALTER TABLE', 'CREATE FOREIGN TABLE', 'ALTER FOREIGN TABLE',
        'CREATE SCHEMA')
        execute function flowcraft.follow_partitions();
    create event trigger flowcraft_partitions_dropped on sql_drop when tag in ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED')
        execute function flowcraft.follow_partitions();
    return 'created the event triggers of partitions that come and go';
end $$;

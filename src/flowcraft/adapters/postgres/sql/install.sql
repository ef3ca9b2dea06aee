-- install: functions of this session that make the triggers fit the declared sources.
--
-- The functions look the columns up in the database, so that the same text runs through psql and through Python.
-- RT001 marks a declaration that does not fit the database.

do $flowcraft_install$
begin
    if not has_database_privilege(current_database(), 'temporary') then
        raise exception 'role % may not create the temporary functions that look up the columns of its tables; run `grant temporary '
            'on database % to %`', quote_ident(current_user), quote_ident(current_database()), quote_ident(current_user)
            using errcode = 'insufficient_privilege';
    end if;
end $flowcraft_install$;

-- flowcraft_spelled: a table as it is written in Table(...).
create or replace function pg_temp.flowcraft_spelled(schema name, name name) returns text language sql immutable as $$
    select format('Table(%s)', to_json(string_agg(
        case when part ~ '[."]' then '"' || replace(part, '"', '""') || '"' else part end, '.' order by place)))
    from unnest(array[schema::text, name::text]) with ordinality as p(part, place)
$$;

-- flowcraft_named: the relation that a name without a schema means: the only one on the caller's search_path.
create or replace function pg_temp.flowcraft_named(channel text, name name) returns regclass language plpgsql stable as $$
declare
    caller jsonb := current_setting('flowcraft.caller')::jsonb;
    path text[] := string_to_array(replace(replace(caller ->> 'search_path', ' ', ''), '"', ''), ',');
    schemas name[] := array(
        select s.name::name from jsonb_array_elements_text(caller -> 'schemas') with ordinality as s(name, place)
        join pg_namespace as n on n.nspname = s.name
        join pg_class as c on c.relnamespace = n.oid
        where c.relname = flowcraft_named.name and c.relkind in ('r', 'p', 'v', 'm', 'f') order by s.place);
begin
    if array_length(schemas, 1) > 1 then
        raise exception 'channel %: % on the search_path have the name %; write %', channel,
            (select string_agg(format('%I.%I', s, name), ' and ' order by place) from unnest(schemas) with ordinality as u(s, place)),
            quote_ident(name),
            (select string_agg(pg_temp.flowcraft_spelled(s, name), ' or ' order by place)
                from unnest(schemas) with ordinality as u(s, place))
            using errcode = 'RT001';
    end if;
    -- A role that may create schemas can make the one that has the name of the role that migrates.
    if schemas[1] = current_user and '$user' = any (path) and not schemas[1]::text = any (path) then
        raise exception 'channel %: % is found by "$user" on the search_path, which another role finds elsewhere; write %',
            channel, format('%I.%I', schemas[1], name), pg_temp.flowcraft_spelled(schemas[1], name) using errcode = 'RT001';
    end if;
    return to_regclass(quote_ident(schemas[1]) || '.' || quote_ident(name));
end $$;

-- flowcraft_table: the table of a source.
create or replace function pg_temp.flowcraft_table(source jsonb) returns regclass language plpgsql stable as $$
declare
    parts text[] := parse_ident(source ->> 'table');
    plain text := parts[array_upper(parts, 1)];
    relation regclass := case when array_length(parts, 1) = 1 then pg_temp.flowcraft_named(source ->> 'channel', plain)
        else to_regclass(source ->> 'table') end;
    alike text := (
        select string_agg(pg_temp.flowcraft_spelled(n.nspname, c.relname), ' or ' order by n.nspname, c.relname)
        from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and not c.relispartition and lower(c.relname) = lower(plain)
            and n.nspname !~ '^(pg_|information_schema$)'
    );
    foreign_part regclass := (
        with recursive tree as (
            select relation::oid as id union select i.inhrelid from tree join pg_inherits as i on i.inhparent = tree.id
        )
        select c.oid from tree join pg_class as c on c.oid = tree.id and c.relkind = 'f' and c.oid <> relation
        order by c.oid::regclass::text limit 1
    );
begin
    if relation is null then
        raise exception 'channel %: there is no table %; %', source ->> 'channel', source ->> 'table',
            coalesce('did you mean ' || alike || '?', 'create it first, or correct its name in Table(...)')
            using errcode = 'RT001';
    end if;
    if (select c.relkind not in ('r', 'p') from pg_class as c where c.oid = relation) then
        raise exception 'channel %: % is not a table; name the table whose rows change in Table(...)',
            source ->> 'channel', relation using errcode = 'RT001';
    end if;
    if foreign_part is not null then
        raise exception 'channel %: % is a foreign table and a part of %: PostgreSQL refuses writes to it through % where a trigger reads the '
            'changed rows; detach it, or name the tables that are not foreign in Table(...)', source ->> 'channel', foreign_part, relation, relation
            using errcode = 'RT001';
    end if;
    return relation;
end $$;

\ir generate_columns.sql
\ir generate_queries.sql
\ir generate_guard.sql
\ir generate_body.sql
\ir generate_partitions.sql
\ir generate_state.sql
\ir generate_rewrites.sql

-- flowcraft_definition: the SQL that makes the trigger function of a source.
create or replace function pg_temp.flowcraft_definition(source jsonb, relation regclass, function text) returns text
language sql stable as $$
    select format('create or replace function flowcraft.%I() returns trigger language plpgsql security definer set %s as %L',
        function, array_to_string(pg_temp.flowcraft_settings(relation, pg_temp.flowcraft_plan(source, relation)), ' set '), pg_temp.flowcraft_body(source, relation))
$$;

-- flowcraft_mark: the comment of a trigger function: by its hash it is known to be current, by the name that it would have for a
-- table in public a migration finds it in every schema.
create or replace function pg_temp.flowcraft_mark(source jsonb, relation regclass, definition text) returns text language sql stable as $$
    select concat_ws(' ', 'flowcraft:' || md5(definition), nullif(f.plain, f.name))
    from (select pg_temp.flowcraft_function(source, relation) as name, pg_temp.flowcraft_function(source, null) as plain) as f
$$;

-- flowcraft_is: whether a function does what is declared.
create or replace function pg_temp.flowcraft_is(function oid, source jsonb, relation regclass) returns boolean
language sql stable as $$
    select coalesce(bool_and(p.prosecdef and p.prosrc = pg_temp.flowcraft_body(source, relation)
        and array(select lower(translate(s, ' ''"', '')) from unnest(p.proconfig) as s order by 1)
            = array(select lower(translate(s, ' ''"', '')) from unnest(pg_temp.flowcraft_settings(relation, pg_temp.flowcraft_plan(source, relation))) as s order by 1)), false)
    from pg_proc as p where p.oid = function
$$;

-- flowcraft_install: make the triggers of one source; return what was done, or null if they were there.
create or replace function pg_temp.flowcraft_install(source jsonb) returns text
language plpgsql as $$
declare
    relation regclass := pg_temp.flowcraft_table(source);
    function text := pg_temp.flowcraft_function(source, relation);
    definition text := pg_temp.flowcraft_definition(source, relation, function);
    mark text := pg_temp.flowcraft_mark(source, relation, definition);
    old text := (select obj_description(p.oid, 'pg_proc') from pg_proc as p
        where p.pronamespace = 'flowcraft'::regnamespace and p.proname = function);
    app text := substring(old from ' app=(.*)');
    wanted text[] := array(select format('%s %s', t.place, t.name) from pg_temp.flowcraft_triggers(source, relation, function) as t order by 1);
    present text[] := array(select format('%s %s', t.place, t.name) from pg_temp.flowcraft_present(function) as t where t.fits order by 1);
    -- Only an owner may drop a trigger; one that is not needed any more does nothing.
    owned boolean := (select pg_has_role(c.relowner, 'usage') from pg_class as c where c.oid = relation);
    everywhere text := pg_temp.flowcraft_everywhere(source);
    places oid[] := array(select distinct t.place from pg_temp.flowcraft_present(function) as t order by 1);
    changed boolean := pg_temp.flowcraft_changed(source, function);
    made record;
begin
    if regexp_replace(old, ' app=.*', '') = mark and (present = wanted or not owned and present @> wanted)
        and pg_temp.flowcraft_has_state(source, relation, function)
    then
        return pg_temp.flowcraft_rewritten(source, relation, function);
    end if;
    if source ? 'key' then
        perform pg_temp.flowcraft_check_rows(source, relation);
    end if;
    if to_regprocedure('flowcraft.wake()') is null or not exists (
        select from pg_attribute as a where a.attrelid = 'flowcraft.event'::regclass and a.attname = 'kind'
    ) then
        raise exception 'the log of this database is not at version 5, which the triggers of channel % need; migrate the log first',
            source ->> 'channel' using errcode = 'RT004';
    end if;
    -- Immutable, which it is not, so that it is called when a plan is made and not for each statement: a plan is made again when the
    -- relation changes that its first argument names.
    create or replace function flowcraft.has_key(relation regclass, key name[]) returns boolean
    language sql immutable set search_path = pg_catalog, pg_temp as $has_key$
        select exists (
            select from pg_index as i where i.indrelid = relation and i.indisunique and i.indisvalid and i.indimmediate
                and i.indpred is null and i.indexprs is null and (
                    select array_agg(a.attname order by a.attname) from unnest(i.indkey[0:i.indnkeyatts - 1]) as c(number)
                    join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = c.number
                ) = (select array_agg(name order by name) from unnest(key) as name))
    $has_key$;
    revoke all on function flowcraft.has_key(regclass, name[]) from public;
    execute definition;
    execute format('revoke all on function flowcraft.%I() from public', function);
    execute format('comment on function flowcraft.%I() is %L', function, concat(mark, ' app=' || app));
    -- Another table had this name, or other operations were declared. The other triggers are replaced.
    for made in
        select t.place::regclass as relation, t.name from pg_temp.flowcraft_present(function) as t
        where owned and (not t.fits or format('%s %s', t.place, t.name) <> all (wanted))
    loop
        execute format('drop trigger %I on %s', made.name, made.relation);
    end loop;
    perform set_config('flowcraft.installing', 'on', true);
    for made in select t.definition from pg_temp.flowcraft_triggers(source, relation, function) as t loop
        execute made.definition;
    end loop;
    perform set_config('flowcraft.installing', 'off', true);
    perform pg_temp.flowcraft_store(source, function);
    -- What was changed while a table or a part of it had no trigger is not known, nor what another declaration would have sent.
    if source ->> 'event' = '@guard' then
        perform pg_temp.flowcraft_redeclared(everywhere, true);
    elsif source ? 'key' then
        perform pg_temp.flowcraft_install_state(source, relation, function);
    elsif old is not null and (changed
        or places <> array(select distinct t.place from pg_temp.flowcraft_triggers(source, relation, function) as t order by 1))
    then
        perform pg_temp.flowcraft_redeclared(everywhere, false);
    end if;
    return format('%s: %s the triggers on %s (%s)', source ->> 'channel',
        case when old is null then 'created' else 'replaced' end, relation,
        (select string_agg(operation, ', ') from jsonb_array_elements_text(source -> 'on') as operation));
end $$;

-- flowcraft_known: the trigger functions in the database, the prefix of the channel of each, and the application that declared it.
--
-- An application is known by its channels: its name is the first prefix that it declared, and one that declares a channel of
-- this name later is the same application.
create or replace function pg_temp.flowcraft_known() returns table (id oid, function text, prefix text, mark text, app text)
language sql stable as $$
    select p.oid, p.proname::text, left(p.proname, -9), d.mark, substring(d.mark from ' app=(.*)')
    from pg_proc as p cross join lateral (select obj_description(p.oid, 'pg_proc') as mark) as d
    where p.pronamespace = to_regnamespace('flowcraft') and p.prorettype = 'trigger'::regtype and d.mark like 'flowcraft:%'
$$;

-- flowcraft_leftovers: the trigger functions that no declared source has: of the `own` application, which declares these prefixes,
-- or of `all`, or of its own and of `unnamed` ones. A function of the same declaration on another schema's table is of
-- another tenant.
create or replace function pg_temp.flowcraft_leftovers(sources jsonb, prefixes text[], which text)
returns table (function text, tables text) language sql stable as $$
    select p.function, coalesce(string_agg(distinct t.tgrelid::regclass::text, ', '), '')
    from pg_temp.flowcraft_known() as p left join pg_trigger as t on t.tgfoid = p.id
    where which = 'all' or which = 'unnamed' and p.app is null or which <> 'none' and (p.prefix = any (prefixes)
        or p.app in (select k.app from pg_temp.flowcraft_known() as k where k.prefix = any (prefixes))
        or prefixes = '{}' and p.app is not null and (select count(distinct k.app) from pg_temp.flowcraft_known() as k) = 1)
    group by p.function, p.mark
    -- A function whose table is gone has no triggers.
    having not (count(t.oid) = 0 and exists (select from jsonb_array_elements(sources) as s
            where pg_temp.flowcraft_function(s, null) in (p.function, split_part(p.mark, ' ', 2))))
        and not coalesce(bool_or(exists (
        select from jsonb_array_elements(sources) as s join pg_class as c on c.oid = t.tgrelid
        where c.relname = (parse_ident(s ->> 'table'))[array_upper(parse_ident(s ->> 'table'), 1)]
            and pg_temp.flowcraft_function(s, c.oid) = p.function
            and (array_length(parse_ident(s ->> 'table'), 1) = 1 or c.oid = to_regclass(s ->> 'table')))), false)
    order by 1
$$;

-- flowcraft_restored: adopt a log that came with a dump or an upgrade; empty it if its transaction ids lie ahead.
create or replace function pg_temp.flowcraft_restored() returns text language plpgsql as $$
declare
    present bigint := (select system_identifier from pg_control_system());
    reached xid8 := pg_snapshot_xmax(pg_current_snapshot());
begin
    if exists (select from flowcraft.state where system = present) then
        return null;
    end if;
    update flowcraft.state set system = present;
    if flowcraft.floor() <= reached
        and not exists (select from flowcraft.event where xid >= reached)
    then
        return 'adopted the log of another database system';
    end if;
    truncate flowcraft.event;
    perform setval('flowcraft.event_floor', pg_snapshot_xmin(pg_current_snapshot())::text::bigint);
    update flowcraft.slot set settled_at = null, newest = null;
    return 'emptied the log: its transaction ids were those of another database system';
end $$;

-- flowcraft_apply: make everything fit the declared sources; one line for each thing done.
create or replace function pg_temp.flowcraft_apply(sources jsonb, prefixes text[], prune text) returns setof text
language plpgsql as $$
declare
    source jsonb;
    made record;
    name text := coalesce((select min(k.app) from pg_temp.flowcraft_known() as k where k.prefix = any (prefixes)),
        (select min(p) from unnest(prefixes) as p));
begin
    return query select done from pg_temp.flowcraft_restored() as done where done is not null;
    for source in select s from jsonb_array_elements(sources) as s loop
        return query select done from pg_temp.flowcraft_install(source) as done where done is not null;
    end loop;
    for made in select * from pg_temp.flowcraft_leftovers(sources, prefixes, prune) loop
        execute format('drop function flowcraft.%I() cascade', made.function);
        execute format('drop function if exists flowcraft.%I(text, bigint, bigint)', pg_temp.flowcraft_state_name(made.function));
        return next format('dropped the triggers of flowcraft.%s: no declared source has them', made.function);
    end loop;
    for made in select * from pg_temp.flowcraft_known() as k where k.prefix = any (prefixes) and k.app is distinct from name loop
        execute format('comment on function flowcraft.%I() is %L', made.function,
            concat(regexp_replace(made.mark, ' app=.*', ''), ' app=' || name));
    end loop;
    return query select done from pg_temp.flowcraft_follow() as done where done is not null;
    perform pg_temp.flowcraft_follow_rewrites();
end $$;

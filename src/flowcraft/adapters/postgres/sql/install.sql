-- install: functions of this session that make the triggers fit the declared sources.
--
-- The functions look the columns up in the database, so that the same text runs through psql and through Python.
-- RT001 marks a declaration that does not fit the database.

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
    return relation;
end $$;

-- flowcraft_base: the type below a domain, or below the domains of an array's elements; `own` if that is PostgreSQL's own.
create or replace function pg_temp.flowcraft_base(type oid, out id oid, out own boolean) language plpgsql stable as $$
declare
    declared pg_type;
begin
    loop
        select * into strict declared from pg_type as t where t.oid = coalesce(id, type);
        id := case when declared.typtype = 'd' then declared.typbasetype else declared.oid end;
        exit when declared.typtype <> 'd';
    end loop;
    if id >= 16384 and declared.typcategory = 'A' and declared.typelem <> 0 then
        id := coalesce((
            select e.typarray from pg_temp.flowcraft_base(declared.typelem) as b join pg_type as e on e.oid = b.id where b.own
        ), id);
    end if;
    own := id < 16384;
end $$;

-- flowcraft_column: how a field is read from the row `n`; null if the table has no such column.
--
-- The trigger has our rights, and the owner of the table may give a column another type at any time. A type that is not
-- PostgreSQL's own (those have ids below 16384) may have casts that call a function of its owner, and row_to_json looks
-- for them. So no value of such a type is cast or made JSON here: `format` takes the text that the value prints, which is
-- then read as text, or as the type of PostgreSQL below a domain. `quick` and `careful` are the same value; `quick` is for rows in
-- which `condition` holds: in all, while the column has the type that it has now.
create or replace function pg_temp.flowcraft_column(
    relation regclass, field jsonb, out quick text, out careful text, out condition text
) language plpgsql stable as $$
declare
    wanted text := field ->> 'cast';
    plain text := format('n.%I', field ->> 'column');
    own text := format('pg_typeof(%s)::oid < 16384', plain);
    printed text := format('when num_nonnulls(%1$s) = 1 then format(''%%s'', %1$s)', plain);
    given oid;
    type oid;
    value text;
begin
    select a.atttypid, case when b.own then b.id when t.typcategory = 'A' then '_text'::regtype::oid else 'text'::regtype::oid end
    into given, type
    from pg_attribute as a cross join lateral pg_temp.flowcraft_base(a.atttypid) as b join pg_type as t on t.oid = b.id
    where a.attrelid = relation and a.attname = field ->> 'column' and a.attnum > 0 and not a.attisdropped;
    if not found then
        return;
    end if;
    value := case when given < 16384 then plain
        else format('(case %s end)::pg_catalog.%I', printed, (select t.typname from pg_type as t where t.oid = type)) end;
    quick := case
        when wanted = 'text' and type in ('timestamptz'::regtype, 'timestamp'::regtype) then format('to_json(%s) #>> ''{}''', value)
        when wanted is not null then format('%s::%s', value, wanted)
        when type = 'bytea'::regtype then format('translate(encode(%s, ''base64''), e''\n'', '''')', value)
        else value
    end;
    if given >= 16384 then
        careful := quick;
        return;
    end if;
    condition := own;
    careful := case when quick = plain
        then format('case when %1$s then to_json(%2$s) when num_nonnulls(%2$s) = 1 then to_json(format(''%%s'', %2$s)) end', own, plain)
        else format('case when %s then %s %s%s end', own, quick, printed, '::' || wanted)
    end;
end $$;

-- flowcraft_settings: the settings of a trigger function, so that its output does not depend on the session's.
create or replace function pg_temp.flowcraft_settings(relation regclass) returns text[] language sql stable as $$
    select array_remove(array[
        'search_path = pg_catalog, pg_temp',
        -- An interval in JSON has the style of the session; the types of Python read ISO 8601.
        case when bool_or(b.id in ('interval'::regtype, 'interval[]'::regtype)) then 'intervalstyle = iso_8601' end,
        case when bool_or(a.atttypid >= 16384 and b.id in ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype,
            'date[]'::regtype, 'timestamp[]'::regtype, 'timestamptz[]'::regtype)) then 'datestyle = iso' end
    ], null)
    from pg_attribute as a cross join lateral pg_temp.flowcraft_base(a.atttypid) as b
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
$$;

-- flowcraft_body: the text of the trigger function of a source.
create or replace function pg_temp.flowcraft_body(source jsonb, relation regclass) returns text
language plpgsql stable as $$
declare
    field jsonb;
    read record;
    quick text[] := '{}';
    careful text[] := '{}';
    conditions text[] := '{}';
    channel text[] := array_fill(quote_literal(source ->> 'channel'), array[2]);
    given text := '';
    rows text;
begin
    if source ->> 'tag_field' is not null then
        quick := quick || format('%L::text as %I', source ->> 'tag', source ->> 'tag_field');
        careful := quick;
    end if;
    for field in select f from jsonb_array_elements(source -> 'fields') as f loop
        read := pg_temp.flowcraft_column(relation, field);
        if read.quick is not null then
            quick := quick || format('%s as %I', read.quick, field ->> 'name');
            careful := careful || format('%s as %I', read.careful, field ->> 'name');
            conditions := conditions || array_remove(array[read.condition], null);
        elsif field ->> 'default' is not null then
            quick := quick || format('%L::json as %I', field ->> 'default', field ->> 'name');
            careful := careful || quick[array_upper(quick, 1)];
        elsif (field ->> 'required')::boolean then
            raise exception 'channel %: table % has no column % for the field % of %; it has %', source ->> 'channel', relation,
                quote_ident(field ->> 'column'), field ->> 'name', source ->> 'event', (
                    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute as a
                    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
                ) using errcode = 'RT001',
                hint = format('Name the column: Table(..., %s="<column>").', field ->> 'name');
        end if;
        if field ->> 'name' = source ->> 'parameter' then
            read := pg_temp.flowcraft_column(relation, field || '{"cast": "text"}');
            channel := array[format('%L || (%s)', (source ->> 'prefix') || '.', read.quick),
                format('%L || (%s)', (source ->> 'prefix') || '.', read.careful)];
            given := format('num_nonnulls(n.%I) = 1', field ->> 'column');
        end if;
    end loop;
    rows := format($body$
begin
    insert into flowcraft.event (channel, payload)
    select %s, row_to_json(r)::text from flowcraft_rows as n cross join lateral (select %s) as r%s;$body$,
        channel[1], array_to_string(quick, ', '),
        E'\n    where ' || nullif(concat_ws(' and ', nullif(given, ''), nullif(array_to_string(conditions, ' and '), '')), ''));
    if conditions <> '{}' then
        rows := rows || format($body$
    if not found then
        insert into flowcraft.event (channel, payload)
        select %s, row_to_json(r)::text from flowcraft_rows as n cross join lateral (select %s) as r
        where %s;
    end if;$body$, channel[2], array_to_string(careful, ', '),
            concat_ws(' and ', nullif(given, ''), format('not (%s)', array_to_string(conditions, ' and '))));
    end if;
    return rows || $body$
    if found then
        perform flowcraft.wake();
    end if;
    return null;
end $body$;
end $$;

-- flowcraft_definition: the SQL that makes the trigger function of a source.
create or replace function pg_temp.flowcraft_definition(source jsonb, relation regclass, function text) returns text
language sql stable as $$
    select format('create or replace function flowcraft.%I() returns trigger language plpgsql security definer set %s as %L',
        function, array_to_string(pg_temp.flowcraft_settings(relation), ' set '), pg_temp.flowcraft_body(source, relation))
$$;

-- flowcraft_is: whether a function does what is declared.
create or replace function pg_temp.flowcraft_is(function oid, source jsonb, relation regclass) returns boolean
language sql stable as $$
    select coalesce(bool_and(p.prosecdef and p.prosrc = pg_temp.flowcraft_body(source, relation)
        and array(select lower(replace(s, ' ', '')) from unnest(p.proconfig) as s order by 1)
            = array(select replace(s, ' ', '') from unnest(pg_temp.flowcraft_settings(relation)) as s order by 1)), false)
    from pg_proc as p where p.oid = function
$$;

-- flowcraft_install: make the triggers of one source; return what was done, or null if they were there.
create or replace function pg_temp.flowcraft_install(source jsonb, function text) returns text
language plpgsql as $$
declare
    relation regclass := pg_temp.flowcraft_table(source);
    definition text := pg_temp.flowcraft_definition(source, relation, function);
    mark text := 'flowcraft:' || md5(definition);
    old text := (select obj_description(p.oid, 'pg_proc') from pg_proc as p
        where p.pronamespace = 'flowcraft'::regnamespace and p.proname = function);
    wanted text[] := array(
        select format('flowcraft_%s_%s', right(function, 8), operation)
        from jsonb_array_elements_text(source -> 'on') as operation order by 1);
    present text[] := array(
        select t.tgname::text from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid
        where t.tgrelid = relation and p.pronamespace = 'flowcraft'::regnamespace and p.proname = function order by 1);
    name text;
begin
    if old = mark and present = wanted then
        return null;
    end if;
    if to_regprocedure('flowcraft.wake()') is null then
        raise exception 'a development version migrated the log of this database, and the triggers of channel % need a function that '
            'is not there, flowcraft.wake(); bring the log to version 4 first', source ->> 'channel' using errcode = 'RT004';
    end if;
    execute definition;
    execute format('revoke all on function flowcraft.%I() from public', function);
    execute format('comment on function flowcraft.%I() is %L', function, mark);
    foreach name in array present loop
        execute format('drop trigger %I on %s', name, relation);
    end loop;
    foreach name in array wanted loop
        execute format('create trigger %I after %s on %s referencing %s table as flowcraft_rows '
            'for each statement execute function flowcraft.%I()',
            name, split_part(name, '_', 3), relation,
            case split_part(name, '_', 3) when 'delete' then 'old' else 'new' end, function);
    end loop;
    return format('%s: %s the triggers on %s (%s)', source ->> 'channel',
        case when old is null then 'created' else 'replaced' end, relation,
        (select string_agg(operation, ', ') from jsonb_array_elements_text(source -> 'on') as operation));
end $$;

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
create or replace function pg_temp.flowcraft_apply(sources jsonb, prune boolean) returns setof text
language plpgsql as $$
declare
    source jsonb;
    function text;
    functions text[] := '{}';
begin
    return query select done from pg_temp.flowcraft_restored() as done where done is not null;
    for source in select s from jsonb_array_elements(sources) as s loop
        -- 48 and 8 of the 63 bytes of a name; "flowcraft_", the digest and the operation make the names of the triggers.
        function := format('%s_%s', left(source ->> 'prefix', 48),
            left(md5(concat_ws(' ', source ->> 'channel', source ->> 'table', source ->> 'event')), 8));
        functions := functions || function;
        return query select done from pg_temp.flowcraft_install(source, function) as done where done is not null;
    end loop;
    for function in
        select p.proname from pg_proc as p
        where prune and p.pronamespace = 'flowcraft'::regnamespace and p.prorettype = 'trigger'::regtype
            and obj_description(p.oid, 'pg_proc') like 'flowcraft:%' and p.proname <> all (functions)
    loop
        execute format('drop function flowcraft.%I() cascade', function);
        return next format('dropped the triggers of flowcraft.%s: no declared source has them', function);
    end loop;
end $$;

-- install: functions of this session that make the triggers fit the declared sources.
--
-- They look the columns up where the tables are, so that the same text runs through psql and through Python.
-- RT001 marks a declaration that does not fit the database.

-- flowcraft_column: the expression that reads one field from the row `n`, or null if the table has no such column.
create or replace function pg_temp.flowcraft_column(relation regclass, field jsonb) returns text
language sql stable as $$
    select case
        when field ->> 'cast' = 'text' and a.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype)
            then format('to_json(n.%I) #>> ''{}''', a.attname)
        when field ->> 'cast' is not null then format('n.%I::%s', a.attname, field ->> 'cast')
        when a.atttypid = 'bytea'::regtype then format('translate(encode(n.%I, ''base64''), e''\n'', '''')', a.attname)
        else format('n.%I', a.attname)
    end
    from pg_attribute as a
    where a.attrelid = relation and a.attname = field ->> 'column' and a.attnum > 0 and not a.attisdropped
$$;

-- flowcraft_table: the table of a source.
create or replace function pg_temp.flowcraft_table(source jsonb) returns regclass language plpgsql stable as $$
declare
    relation regclass := to_regclass(source ->> 'table');
    alike text := (
        select string_agg(c.oid::regclass::text, ', ') from pg_class as c
        where c.relkind in ('r', 'p') and lower(c.relname) = lower(split_part(replace(source ->> 'table', '"', ''), '.', -1))
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

-- flowcraft_body: the text of the trigger function of a source.
create or replace function pg_temp.flowcraft_body(source jsonb, relation regclass) returns text
language plpgsql stable as $$
declare
    field jsonb;
    expression text;
    items text[] := '{}';
    channel text := quote_literal(source ->> 'channel');
    condition text := '';
begin
    if source ->> 'tag_field' is not null then
        items := items || format('%L::text as %I', source ->> 'tag', source ->> 'tag_field');
    end if;
    for field in select f from jsonb_array_elements(source -> 'fields') as f loop
        expression := pg_temp.flowcraft_column(relation, field);
        if expression is not null then
            items := items || format('%s as %I', expression, field ->> 'name');
        elsif field ->> 'default' is not null then
            items := items || format('%L::json as %I', field ->> 'default', field ->> 'name');
        elsif (field ->> 'required')::boolean then
            raise exception 'channel %: table % has no column % for the field % of %; it has %', source ->> 'channel', relation,
                quote_ident(field ->> 'column'), field ->> 'name', source ->> 'event', (
                    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute as a
                    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
                ) using errcode = 'RT001',
                hint = format('Name the column: Table(..., %s="<column>").', field ->> 'name');
        end if;
        if field ->> 'name' = source ->> 'parameter' then
            channel := format('%L || n.%I::text', (source ->> 'prefix') || '.', field ->> 'column');
            condition := format(E'\n    where n.%I is not null', field ->> 'column');
        end if;
    end loop;
    return format($body$
begin
    insert into flowcraft.event (channel, payload)
    select %s, row_to_json(r)::text from flowcraft_rows as n cross join lateral (select %s) as r%s;
    if found then
        perform flowcraft.wake();
    end if;
    return null;
end $body$, channel, array_to_string(items, ', '), condition);
end $$;

-- flowcraft_install: make the triggers of one source; tell what was done, or null if they were there.
create or replace function pg_temp.flowcraft_install(source jsonb, function text) returns text
language plpgsql as $$
declare
    relation regclass := pg_temp.flowcraft_table(source);
    body text := pg_temp.flowcraft_body(source, relation);
    -- An interval in JSON has the style of the session; the types of Python read ISO 8601.
    definition text := format(
        'create or replace function flowcraft.%I() returns trigger language plpgsql security definer '
        'set search_path = pg_catalog, pg_temp %s as %L', function,
        case when exists (select from pg_attribute where attrelid = relation and atttypid = 'interval'::regtype)
            then 'set intervalstyle = iso_8601' end, body);
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
    here bigint := (select system_identifier from pg_control_system());
    reached xid8 := pg_snapshot_xmax(pg_current_snapshot());
begin
    if exists (select from flowcraft.state where system = here) then
        return null;
    end if;
    update flowcraft.state set system = here;
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

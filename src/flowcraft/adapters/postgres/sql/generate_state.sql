-- generate_state: functions of this session that write the function which reads the rows of a channel, and that refuse what
-- cannot be a channel of rows.

-- flowcraft_wanted: the type of the variable that has the value of the parameter, and how the column is compared with it. Null: the
-- parameter has a type whose equality is not that of its text.
create or replace function pg_temp.flowcraft_wanted(source jsonb, relation regclass, out type text, out test text)
language plpgsql stable as $$
declare
    found record;
begin
    if source ->> 'parameter' is null then
        return;
    end if;
    select a.attname as name, a.atttypid as declared, t.oid as id, t.typname, t.typtype, n.nspname as schema,
        case when l.collisdeterministic then format(' collate %I.%I', ln.nspname, l.collname) else '' end as collation,
        coalesce(l.collisdeterministic, true) as exact
    into found
    from jsonb_array_elements(source -> 'fields') as f
    join pg_attribute as a on a.attrelid = relation and a.attname = f ->> 'column' and not a.attisdropped
    cross join lateral pg_temp.flowcraft_base(a.atttypid) as b
    join pg_type as t on t.oid = b.id
    join pg_namespace as n on n.oid = t.typnamespace
    left join pg_collation as l on l.oid = a.attcollation
    left join pg_namespace as ln on ln.oid = l.collnamespace
    where f ->> 'name' = source ->> 'parameter';
    type := case
        when found.id in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) then 'int8'
        when found.id = 'uuid'::regtype then 'uuid'
        when found.id in ('text'::regtype, 'varchar'::regtype) and found.exact then 'text'
        when found.typtype = 'e' then format('%I.%I', found.schema, found.typname) end;
    test := format('x.%I%s = flowcraft_wanted%s', found.name,
        case when found.typtype = 'e' and found.declared <> found.id then '::' || type else '' end,  -- a domain
        case when type = 'text' then found.collation else '' end);
end $$;

-- flowcraft_without_index: the column by which the rows of a channel are looked up, if no index of their table begins with it.
create or replace function pg_temp.flowcraft_without_index(source jsonb, relation regclass) returns name language sql stable as $$
    select a.attname from jsonb_array_elements(source -> 'fields') as f
    join pg_attribute as a on a.attrelid = relation and a.attname = f ->> 'column' and not a.attisdropped
    where source ? 'key' and f ->> 'name' = source ->> 'parameter' and not exists (
        select from pg_index as i where i.indrelid = relation and i.indisvalid and i.indkey[0] = a.attnum)
$$;

-- flowcraft_state_name: the name of the function, beside the trigger function of the same source.
create or replace function pg_temp.flowcraft_state_name(function text) returns text language sql immutable as $$
    select function || '_rows'
$$;

-- flowcraft_state: the text of the function: the cursor and the rows of one channel, in one statement.
--
-- TRUNCATE is not MVCC-safe: under a lock that it waits for, and with a snapshot that is taken after the lock, the rows
-- are those of the cursor.
create or replace function pg_temp.flowcraft_state(source jsonb, relation regclass) returns text language plpgsql stable as $$
declare
    plan jsonb := pg_temp.flowcraft_plan(source, relation);
    wanted record := pg_temp.flowcraft_wanted(source, relation);
    conditions text := concat_ws(' and ', wanted.test, '(' || (source ->> 'where') || e'\n)');
    compared text := (select string_agg(format('pg_typeof((null::%s).%I)', relation, c ->> 'name'), ', ')
        from jsonb_array_elements(plan -> 'columns') as c where pg_temp.flowcraft_compared(source, relation, plan, c));
    statement text := '';
    side jsonb;
    safely boolean;
begin
    foreach safely in array array[false, true] loop
        side := to_jsonb(pg_temp.flowcraft_side(source, plan, 'c', safely));
        statement := statement || format($text$
    %s
        return query
        with found as materialized (
            select coalesce(s.bad, case when octet_length(s.payload) > 262144 then '{"reason":"too_large"}' end) as bad, s.payload
            from (
                select row_to_json(pc.*)::text as payload, %s as bad from (
                    %s%s
                ) as c cross join lateral %s where (%s) is not null limit flowcraft_most + 1
            ) as s
        ), measured as materialized (
            select count(*) as n, coalesce(sum(octet_length(f.payload)) filter (where f.bad is null), 0)::bigint as size from found as f
        )
        select 'c'::"char", json_build_object('cursor', flowcraft.cursor(), 'rows', m.n, 'bytes', m.size)::text from measured as m
        union all
        select case when f.bad is null then 'e' else 's' end::"char", coalesce(f.bad, f.payload) from found as f, measured as m
        where m.n <= flowcraft_most and m.size <= flowcraft_most_bytes;$text$,
            case when safely then 'else' else format('if %s then', pg_temp.flowcraft_types(source, relation, plan)) end,
            coalesce(side ->> 'unfit', 'null::text'), pg_temp.flowcraft_rows(plan, relation::text, false),
            coalesce(' where ' || nullif(conditions, ''), ''), side ->> 'payload', side ->> 'channel');
    end loop;
    return format($body$
#variable_conflict use_column
declare
    flowcraft_wanted %s;
    flowcraft_safe boolean;
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'rows are read at READ COMMITTED: the snapshot must be newer than the lock' using errcode = 'object_not_in_prerequisite_state';
    end if;
    lock table %s in access share mode;
    if not exists (select from pg_class as c where c.oid = %s::regclass and c.relkind in ('r', 'p')) then
        raise exception using errcode = 'RT005', message = 'the table is another one now';
    end if;
    select bool_and(%s) into flowcraft_safe from pg_type as t where t.oid in (%s);
    if not flowcraft_safe then
        raise exception using errcode = 'RT005', message = 'the type of a column of the key or of the condition has changed';
    end if;%s%s
    end if;
end $body$,
        coalesce(wanted.type, 'text'), relation, quote_literal(relation::text), pg_temp.flowcraft_comparable(), compared,
        case when wanted.type is not null then $text$
    begin
        flowcraft_wanted := flowcraft_parameter;
    exception when invalid_text_representation or numeric_value_out_of_range then
        null;
    end;
    -- Another spelling of the value is another channel, which has no rows.
    if flowcraft_wanted::text is distinct from flowcraft_parameter then
        flowcraft_wanted := null;
    end if;$text$ else '' end, statement);
end $$;

-- flowcraft_state_settings: its settings. A plan for all parameters would take a list of a few rows for one of many.
create or replace function pg_temp.flowcraft_state_settings(source jsonb, relation regclass) returns text[] language sql stable as $$
    select pg_temp.flowcraft_settings(relation, pg_temp.flowcraft_plan(source, relation))
        || array['lock_timeout = 2000', 'plan_cache_mode = force_custom_plan']
$$;

-- flowcraft_state_definition: the SQL that makes the function.
create or replace function pg_temp.flowcraft_state_definition(source jsonb, relation regclass, function text) returns text
language sql stable as $$
    select format('create or replace function flowcraft.%I(flowcraft_parameter text, flowcraft_most bigint, flowcraft_most_bytes bigint) '
        'returns table (kind "char", content text) language plpgsql volatile security definer set %s as %L',
        pg_temp.flowcraft_state_name(function), array_to_string(pg_temp.flowcraft_state_settings(source, relation), ' set '),
        pg_temp.flowcraft_state(source, relation))
$$;

-- flowcraft_has_state: whether the function of a source of rows is there and does what is declared; true for other sources.
create or replace function pg_temp.flowcraft_has_state(source jsonb, relation regclass, function text) returns boolean
language sql stable as $$
    select not source ? 'key' or exists (
        select from pg_proc as p
        where p.pronamespace = to_regnamespace('flowcraft') and p.proname = pg_temp.flowcraft_state_name(function)
            and p.prosecdef and p.prosrc = pg_temp.flowcraft_state(source, relation)
            and array(select lower(translate(s, ' ''"', '')) from unnest(p.proconfig) as s order by 1)
                = array(select lower(translate(s, ' ''"', '')) from unnest(pg_temp.flowcraft_state_settings(source, relation)) as s order by 1))
$$;

-- flowcraft_check_rows: refuse a source of rows that cannot keep its promise.
create or replace function pg_temp.flowcraft_check_rows(source jsonb, relation regclass) returns void language plpgsql as $$
declare
    plan jsonb := pg_temp.flowcraft_plan(source, relation);
    computed text := (select string_agg(quote_ident(c ->> 'name'), ', ') from jsonb_array_elements(plan -> 'columns') as c
        where c ->> 'virtual' is not null and c ->> 'name' = any (pg_temp.flowcraft_condition(source, relation)));
    problem text;
begin
    if not (plan ->> 'keyed')::boolean then
        raise exception 'channel %: %', source ->> 'channel', plan ->> 'without_key' using errcode = 'RT001',
            hint = 'Name the primary key of the table, or a unique index over columns that are not null: key="id".';
    end if;
    if source ->> 'parameter' is not null and (pg_temp.flowcraft_wanted(source, relation)).type is null then
        raise exception 'channel %: the column of the parameter % of % is no integer, uuid, enum or text of a deterministic collation',
            source ->> 'channel', source ->> 'parameter', relation using errcode = 'RT001';
    end if;
    if source ->> 'where' is null then
        return;
    end if;
    if computed is not null then
        raise exception 'channel %: where=% names %, which is computed when it is read; name the columns that it is computed of',
            source ->> 'channel', quote_literal(source ->> 'where'), computed using errcode = 'RT001';
    end if;
    begin
        -- The condition of an index has to be immutable, and has no subquery.
        execute format('create temporary table flowcraft_condition_proof (like %s) on commit drop', relation);
        execute format(e'create index on pg_temp.flowcraft_condition_proof ((1)) where (%s\n)', source ->> 'where');
        execute format(e'select from (select (%s\n) is true as shown from only %s as x limit 0) as r', source ->> 'where', relation);
    exception when others then
        get stacked diagnostics problem = message_text;
    end;
    -- A comparison of another type could call a function of the table's owner.
    problem := coalesce(problem, (
        select format('the column %I has the type %s, which is not PostgreSQL''s own', a.attname, format_type(a.atttypid, a.atttypmod))
        from pg_attribute as a join pg_type as t on t.oid = a.atttypid
        where a.attrelid = relation and a.attname = any (pg_temp.flowcraft_condition(source, relation))
            and not (t.oid < 16384 or t.typtype = 'e' or t.typtype = 'd' and t.typbasetype < 16384)
        order by a.attnum limit 1));
    if problem is not null then
        raise exception 'channel %: where=% cannot be the condition of %: %', source ->> 'channel', quote_literal(source ->> 'where'),
            relation, problem using errcode = 'RT001',
            hint = 'Write a condition over its columns, without their table, of immutable functions only.';
    end if;
    drop table pg_temp.flowcraft_condition_proof;
end $$;

-- flowcraft_install_state: make the function that reads the rows, and have the pages that show them read them again.
create or replace function pg_temp.flowcraft_install_state(source jsonb, relation regclass, function text) returns void language plpgsql as $$
declare
    name text := pg_temp.flowcraft_state_name(function);
begin
    if to_regprocedure('flowcraft.rows(text, text, bigint, bigint)') is null then
        raise exception 'the log of this database is not at version 9, which the rows of channel % need; migrate the log first',
            source ->> 'channel' using errcode = 'RT004';
    end if;
    execute pg_temp.flowcraft_state_definition(source, relation, function);
    execute format('revoke all on function flowcraft.%I(text, bigint, bigint) from public', name);
    execute format('comment on function flowcraft.%I(text, bigint, bigint) is %L', name,
        concat('flowcraft-rows:', pg_temp.flowcraft_function(source, null)));
    insert into flowcraft.event (kind, channel, payload) values ('r', pg_temp.flowcraft_everywhere(source), '{"reason":"redeclared"}');
    perform flowcraft.wake();
end $$;

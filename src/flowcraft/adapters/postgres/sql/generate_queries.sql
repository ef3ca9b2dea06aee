-- generate_queries: functions of this session that write the queries of a trigger function.
--
-- For each key in old and new, let c be the row of the table now. A record `gone` is for each channel where the old row was
-- shown and c is not; an event with c is for the channel of c; there is none if c's values equal the old row's as text. The
-- row of a transition table may be out of date: a trigger of the application can have changed it since.
-- Rows of a channel of rows are shown where their condition `where` is true.
-- In a query the columns of the table have the names c1, c2, …: no name of a column can be taken for one of ours.

-- flowcraft_role: the role that the trigger functions belong to.
create or replace function pg_temp.flowcraft_role() returns name language sql stable as $$
    select coalesce((
        select r.rolname from pg_namespace as n join pg_roles as r on r.oid = n.nspowner
        where n.nspname = 'flowcraft' and r.rolname <> 'pg_database_owner'
    ), current_user)
$$;

-- flowcraft_readable: why the triggers cannot read these columns of a table; null if they can.
create or replace function pg_temp.flowcraft_readable(relation regclass, columns name[]) returns text language sql stable as $$
    select case
        when not has_schema_privilege(r.oid, c.relnamespace, 'usage') then
            format('role %I may not use the schema %s', r.rolname, c.relnamespace::regnamespace)
        when not (select bool_and(has_column_privilege(r.oid, c.oid, name::text, 'select')) from unnest(columns) as name) then
            format('role %I may not select from %s', r.rolname, relation)
        when c.relrowsecurity and not r.rolsuper and not r.rolbypassrls
            and (c.relforcerowsecurity or not pg_has_role(r.oid, c.relowner, 'usage')) then
            format('the row security of %s hides rows from role %I', relation, r.rolname)
    end
    from pg_class as c join pg_roles as r on r.rolname = pg_temp.flowcraft_role() where c.oid = relation
$$;

-- flowcraft_key: the columns by which a row is found again: of the primary key, or of a unique index over columns that are not
-- null; and why there are none. One whose columns the event has is preferred: a page knows its rows by these.
create or replace function pg_temp.flowcraft_key(relation regclass, carried name[], out key name[], out missing text)
language plpgsql stable as $$
begin
    if exists (select from pg_inherits as i join pg_class as c on c.oid = i.inhparent where c.oid = relation and c.relkind = 'r') then
        missing := format('%s has inheritance children', relation);
        return;
    end if;
    select k.columns into key from pg_index as i
    cross join lateral (
        select array_agg(a.attname order by c.place) as columns, bool_and(a.attnotnull) as filled,
            bool_and(l.oid is null or l.collisdeterministic) as exact,
            -- A comparison of any other type could call a function of the table's owner.
            bool_and(t.oid < 16384 or t.typtype = 'e' or t.typtype = 'd' and t.typbasetype < 16384) as safe
        from unnest(i.indkey[0:i.indnkeyatts - 1]) with ordinality as c(number, place)
        join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = c.number
        join pg_type as t on t.oid = a.atttypid
        left join pg_collation as l on l.oid = a.attcollation
    ) as k
    where i.indrelid = relation and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
        and not i.indisexclusion and k.filled and k.exact and k.safe
    order by k.columns <@ carried desc, i.indisprimary desc, cardinality(k.columns), k.columns::text
    limit 1;
    if key is null then
        missing := format('%s has no primary key, and no unique index over columns that are not null', relation);
    end if;
end $$;

-- flowcraft_declared_key: the columns of the key that a source of rows declares; and why a row is not found again by them.
create or replace function pg_temp.flowcraft_declared_key(source jsonb, relation regclass, out key name[], out missing text)
language plpgsql stable as $$
declare
    found record;
begin
    key := array(
        select f ->> 'column' from jsonb_array_elements_text(source -> 'key') with ordinality as k(name, place)
        join jsonb_array_elements(source -> 'fields') as f on f ->> 'name' = k.name order by k.place);
    select bool_or(i.indimmediate) as immediate, bool_or(i.indpred is null) as whole, bool_or(k.filled) as filled,
        bool_or(k.exact) as exact, bool_or(k.safe) as safe,
        bool_or(i.indimmediate and i.indpred is null and k.filled and k.exact and k.safe) as fit
    into found
    from pg_index as i
    cross join lateral (
        select array_agg(a.attname order by a.attname) as columns, bool_and(a.attnotnull) as filled,
            bool_and(l.oid is null or l.collisdeterministic) as exact,
            bool_and(t.oid < 16384 or t.typtype = 'e' or t.typtype = 'd' and t.typbasetype < 16384) as safe
        from unnest(i.indkey[0:i.indnkeyatts - 1]) as c(number)
        join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = c.number
        join pg_type as t on t.oid = a.atttypid
        left join pg_collation as l on l.oid = a.attcollation
    ) as k
    where i.indrelid = relation and i.indisunique and i.indisvalid and i.indexprs is null and not i.indisexclusion
        and k.columns = array(select c from unnest(key) as c order by c);
    if exists (select from pg_inherits as i join pg_class as c on c.oid = i.inhparent where c.oid = relation and c.relkind = 'r') then
        missing := format('%s has inheritance children, whose rows its key does not cover', relation);
    elsif not coalesce(found.fit, false) then
        missing := format('the key (%s) is no key of %s: %s', (select string_agg(quote_ident(c), ', ') from unnest(key) as c), relation, case
            when found.immediate is null then 'there is no primary key and no unique index over exactly these columns'
            when not found.immediate then 'its constraint is deferrable, so that two rows can have one key within a transaction'
            when not found.whole then 'its unique index is partial'
            when not found.filled then 'a column of it may be null'
            when not found.exact then 'a column of it has a collation that is not deterministic'
            else 'a column of it has a type whose comparison is not PostgreSQL''s own' end);
    end if;
    if missing is not null then
        key := null;
    end if;
end $$;

-- flowcraft_condition: the columns that the condition of a source may name. One more than it does costs a comparison.
create or replace function pg_temp.flowcraft_condition(source jsonb, relation regclass) returns name[] language sql stable as $$
    select array(select a.attname from pg_attribute as a where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
        and position(lower(a.attname) in lower(source ->> 'where')) > 0 order by a.attname)
$$;

-- flowcraft_plan: what the queries of a source need, and what `check` reports of it.
create or replace function pg_temp.flowcraft_plan(source jsonb, relation regclass) returns jsonb
language plpgsql stable as $$
declare
    fields jsonb := (
        select coalesce(jsonb_agg(f order by place) filter (where a.attname is not null or f ->> 'default' is not null), '[]')
        from jsonb_array_elements(source -> 'fields') with ordinality as e(f, place)
        left join pg_attribute as a on a.attrelid = relation and a.attname = f ->> 'column' and a.attnum > 0 and not a.attisdropped);
    carried name[] := array(
        select a.attname from jsonb_array_elements(fields) as f
        join pg_attribute as a on a.attrelid = relation and a.attname = f ->> 'column' and a.attnum > 0 and not a.attisdropped);
    found record := case when source ? 'key' then pg_temp.flowcraft_declared_key(source, relation)
        else pg_temp.flowcraft_key(relation, carried) end;
    used name[] := array(select distinct name
        from unnest(carried || coalesce(found.key, '{}') || pg_temp.flowcraft_condition(source, relation)) as name order by 1);
    denied text := case when found.key is not null then pg_temp.flowcraft_readable(relation, used) end;
begin
    return jsonb_build_object(
        -- What stands for the names of tables in the queries, and in none of their other texts.
        'relation', format('{relation %s}', md5(source::text || used::text)), 'table', format('{table %s}', md5(source::text || used::text)),
        'where', source ->> 'where', 'fields', fields, 'keyed', found.key is not null and denied is null, 'without_key', coalesce(found.missing, denied),
        'key', (select coalesce(jsonb_agg(jsonb_build_object('name', coalesce(c.field ->> 'name', k.name),
            'number', array_position(used, k.name), 'field', c.field) order by k.place), '[]')
            from unnest(found.key) with ordinality as k(name, place)
            left join lateral (select f as field from jsonb_array_elements(fields) as f where f ->> 'column' = k.name limit 1) as c
                on true),
        'columns', (select coalesce(jsonb_agg(jsonb_build_object(
            'name', a.attname, 'number', u.number, 'carried', u.name = any (carried), 'type', a.atttypid::bigint, 'text', t.typname in ('text', 'varchar'),
            'plain', t.oid < 16384 and t.typname in ('bool', 'int2', 'int4', 'int8', 'text', 'varchar', 'uuid', 'date', 'timestamp', 'timestamptz'),
            -- A transition table has no value of a virtual column.
            'virtual', case when a.attgenerated = 'v' then pg_get_expr(d.adbin, d.adrelid) end) order by u.number), '[]')
            from unnest(used) with ordinality as u(name, number)
            join pg_attribute as a on a.attrelid = relation and a.attname = u.name join pg_type as t on t.oid = a.atttypid
            left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum));
end $$;

-- flowcraft_rows: a query for rows of a table: each column as c1, c2, …; of old and new rows virtual columns by their expressions.
--
-- The condition is evaluated here, where the columns have their own names: `shown`.
create or replace function pg_temp.flowcraft_rows(plan jsonb, source text, transition boolean) returns text language sql immutable as $$
    select format('select true as there%s from %s as x', string_agg(format(', %s as c%s',
        case when transition and c ->> 'virtual' is not null then '(' || (c ->> 'virtual') || ')' else format('x.%I', c ->> 'name') end,
        c ->> 'number'), '' order by (c ->> 'number')::int)
        || coalesce(e', (' || (plan ->> 'where') || e'\n) is true as shown', ''), source)
    from jsonb_array_elements(plan -> 'columns') as c
$$;

-- flowcraft_now: a query for the row of the table that has the key of `row`. Not a join: one plan serves statements of any size.
create or replace function pg_temp.flowcraft_now(plan jsonb, key text) returns text language sql immutable as $$
    select pg_temp.flowcraft_rows(plan, plan ->> 'relation', false) || ' where ' || string_agg(
        format('x.%I = %s', (select c ->> 'name' from jsonb_array_elements(plan -> 'columns') as c where c -> 'number' = k -> 'number'),
            replace(key, '#', k ->> 'number')), ' and ') || ' offset 0'
    from jsonb_array_elements(plan -> 'key') as k
$$;

-- flowcraft_pairs: the rows that one operation has changed: `o` an old row, `c` the row now.
create or replace function pg_temp.flowcraft_pairs(plan jsonb, operation text, keyed boolean) returns text language sql immutable as $$
    select case
        when operation = 'truncate' and keyed then format('(%s limit 10001) as o left join lateral (%s) as c on false',
            pg_temp.flowcraft_rows(plan, 'only ' || (plan ->> 'table'), false), pg_temp.flowcraft_rows(plan, plan ->> 'relation', false))
        when operation = 'truncate' then format('(%s limit 10001) as c', pg_temp.flowcraft_rows(plan, 'only ' || (plan ->> 'table'), false))
        when not keyed and operation = 'delete' then format('(%s) as c', pg_temp.flowcraft_rows(plan, 'flowcraft_old', true))
        when not keyed then format('(%s) as c', pg_temp.flowcraft_rows(plan, 'flowcraft_new', true))
        -- The event of a delete, where the source declares one: not for a row that is there again.
        when operation = 'deleted' then format('(%s) as c left join lateral (%s) as n on true',
            pg_temp.flowcraft_rows(plan, 'flowcraft_old', true), pg_temp.flowcraft_now(plan, 'c.c#'))
        when operation = 'insert' then format('(%s) as n cross join lateral (%s) as c',
            pg_temp.flowcraft_rows(plan, 'flowcraft_new', true), pg_temp.flowcraft_now(plan, 'n.c#'))
        when operation = 'delete' then format('(%s) as o left join lateral (%s) as c on true',
            pg_temp.flowcraft_rows(plan, 'flowcraft_old', true), pg_temp.flowcraft_now(plan, 'o.c#'))
        -- A full join, which never becomes a loop, however many rows the plan was made for.
        else format('(%s) as o full join (%s) as n on %s left join lateral (%s) as c on true',
            pg_temp.flowcraft_rows(plan, 'flowcraft_old', true), pg_temp.flowcraft_rows(plan, 'flowcraft_new', true),
            (select string_agg(format('o.c%1$s = n.c%1$s', k ->> 'number'), ' and ') from jsonb_array_elements(plan -> 'key') as k),
            pg_temp.flowcraft_now(plan, 'coalesce(n.c#, o.c#)'))
    end
$$;

-- flowcraft_differs: whether two rows have different values: in any column, in the one of this name, or in those that are carried.
--
-- What prints another text has another image. Of the `plain` types `=` compares nothing else than images, and in the fastest way; of
-- other types it may be missing, or take for equal what prints differently. `exact`: no row has a type that was not there when
-- the function was made.
create or replace function pg_temp.flowcraft_differs(plan jsonb, a text, b text, exact boolean, name text default null, carried boolean default false)
returns text language sql stable as $$
    with compared as (
        select c ->> 'number' as number, exact and (c ->> 'plain')::boolean as plain,
            case when (c ->> 'text')::boolean then ' collate "C"' else '' end as compared
        from jsonb_array_elements(plan -> 'columns') as c
        where coalesce(c ->> 'name' = flowcraft_differs.name, true) and ((c ->> 'carried')::boolean or not flowcraft_differs.carried)
    )
    select '(' || concat_ws(' or ',
        string_agg(format('%s.c%s%s is distinct from %s.c%s%s', a, number, compared, b, number, compared), ' or ' order by number::int)
            filter (where plain),
        'not row(' || string_agg(format('%s.c%s', a, number), ', ' order by number::int) filter (where not plain)
            || ')::record *= row(' || string_agg(format('%s.c%s', b, number), ', ' order by number::int) filter (where not plain) || ')::record'
    ) || ')'
    from compared
$$;

-- flowcraft_side: what the queries compute of a row `o` or `c`: its payload's columns, its channel, why it is unfit, its key.
create or replace function pg_temp.flowcraft_side(source jsonb, plan jsonb, alias text, safely boolean,
    out payload text, out value text, out channel text, out unfit text, out key text) language plpgsql stable as $$
-- The channel of a row that is not shown is null.
declare
    field jsonb;
    col jsonb;
    read record;
    columns text[] := '{}';
    tests text[] := '{}';
    name text;
    type oid;
begin
    if source ->> 'tag_field' is not null then
        columns := columns || format('%L::text as %I', source ->> 'tag', source ->> 'tag_field');
    end if;
    for field in select f from jsonb_array_elements(plan -> 'fields') as f loop
        col := (select c from jsonb_array_elements(plan -> 'columns') as c where c ->> 'name' = field ->> 'column');
        if col is null then
            columns := columns || format('%L::json as %I', field ->> 'default', field ->> 'name');
            continue;
        end if;
        name := format('%s.c%s', alias, col ->> 'number');
        read := pg_temp.flowcraft_read((col ->> 'type')::oid, field, name);
        columns := columns || format('%s as %I', case when safely then read.careful else read.quick end, field ->> 'name');
        tests := tests || case when safely then read.unfit_careful else read.unfit end;
        if field ->> 'name' = source ->> 'parameter' then
            read := pg_temp.flowcraft_read((col ->> 'type')::oid, field || '{"cast": "text"}', name);
            value := case when safely then read.careful else read.quick end;
            type := (select b.id from pg_temp.flowcraft_base((col ->> 'type')::oid) as b);
            channel := format('%L || %s', (source ->> 'prefix') || '.', value);
            -- Every value of these types is the part of a channel's name that a server reads back.
            if safely or not (type in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) or type = 'uuid'::regtype
                and source ->> 'parameter_type' is distinct from 'int') then
                channel := format('case when (%s) collate "C" ~ %L then %s end', value, case source ->> 'parameter_type'
                    when 'int' then '^(0|-?[1-9][0-9]{0,18})$' when 'uuid' then '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                    else '^[A-Za-z0-9_-]{1,64}$' end, channel);
            end if;
        end if;
    end loop;
    if source ? 'key' then
        channel := coalesce(channel, quote_literal(source ->> 'channel') || '::text');
        channel := case when source ->> 'where' is null then channel else format('case when %s.shown then %s end', alias, channel) end;
    end if;
    payload := format('(select %s) as p%s', array_to_string(columns, ', '), alias);
    unfit := 'case ' || nullif(array_to_string(array_remove(tests, null), ' '), '') || ' end';
    -- The key as the event has it; a column that the event has not as JSON has it.
    if (plan ->> 'keyed')::boolean then
        key := (
            select format('(select %s) as k', concat_ws(', ',
                -- Two tables of one channel may have rows of the same key.
                case when (source ->> 'union')::boolean then format('%L::text as %I', source ->> 'tag', source ->> 'tag_field') end,
                string_agg(format('%s as %I', case when safely then r.careful else r.quick end, k ->> 'name'), ', ')))
            from jsonb_array_elements(plan -> 'key') as k
            cross join lateral (select (c ->> 'type')::oid as type from jsonb_array_elements(plan -> 'columns') as c
                where c -> 'number' = k -> 'number') as t
            cross join lateral pg_temp.flowcraft_read(t.type, coalesce(nullif(k -> 'field', 'null'), '{}'),
                format('%s.c%s', alias, k ->> 'number')) as r);
    end if;
end $$;

-- flowcraft_query: the query of an operation: the kind, channel and payload of each record.
create or replace function pg_temp.flowcraft_query(source jsonb, plan jsonb, operation text, now jsonb, old jsonb, exact boolean) returns text
language plpgsql stable as $$
declare
    deletes boolean := coalesce((source -> 'on') ? 'delete', false);
    keyed boolean := (plan ->> 'keyed')::boolean;
    -- The event of a delete has the old row; there is no row now.
    event boolean := operation in ('delete', 'truncate') and deletes;
    paired boolean := keyed and not event and operation <> 'insert';
    moves text := case when operation = 'update' then coalesce((source ->> 'moves')::boolean, false)
        else coalesce((source ->> 'gone')::boolean, false) end::text;
    family text := quote_literal((source ->> 'prefix') || '.*');
    rows text := pg_temp.flowcraft_pairs(plan, case when event and keyed and operation = 'delete' then 'deleted' else operation end,
        keyed and not (event and operation = 'truncate'));
    -- Two rows of the same key whose columns are all plain print the same texts only if they are the same.
    shows boolean := source ? 'key';
    -- What the condition of rows names beside is compared for `shown` alone.
    plain boolean := exact and not exists (select from jsonb_array_elements(plan -> 'columns') as c
        where not (c ->> 'plain')::boolean and ((c ->> 'carried')::boolean or not shows));
    part text := (select f ->> 'column' from jsonb_array_elements(plan -> 'fields') as f where f ->> 'name' = source ->> 'parameter');
    fields text;
    filter text;
    reason text := 'coalesce(s.bad, case when octet_length(s.payload) > 262144 then ''{"reason":"too_large"}'' end)';
begin
    if shows then
        -- The record names the row, which leaves the page.
        reason := format('case when %1$s is not null then left(%1$s, -1) || '',"key":'' || row_to_json(s.own_key) || ''}'' end', reason);
    end if;
    fields := format('c.there as there, %s as channel, %s as given, case when c.there then row_to_json(pc.*)::text end as payload, '
        'case when c.there then %s end as bad', case when now ->> 'channel' is null then 'null::text' else format('case when c.there then %s end', now ->> 'channel') end,
        case when shows then format('c.there and (%s) is not null', now ->> 'channel') when now ->> 'value' is null then 'c.there'
            else format('c.there and num_nonnulls(%s) = 1', now ->> 'value') end,
        coalesce(now ->> 'unfit', 'null::text'));
    rows := rows || ' cross join lateral ' || (now ->> 'payload');
    if shows then
        -- A row, not a text: it is written for few.
        fields := fields || ', kc as own_key';
        rows := rows || ' cross join lateral ' || regexp_replace(now ->> 'key', ' as k$', ' as kc');
    end if;
    if paired then
        fields := fields || format(', %s as old_channel, case when o.there is null or c.there is null then true when %s then %s else false end as differs, '
            '%s as key',
            case when old ->> 'channel' is null then 'null::text' else format('case when o.there then %s end', old ->> 'channel') end,
            pg_temp.flowcraft_differs(plan, 'o', 'c', exact, null, shows),
            case when plain then 'true' else 'row_to_json(po.*)::text is distinct from row_to_json(pc.*)::text' end,
            case when shows then 'k' else format('case when o.there and (c.there is null%s) then row_to_json(k.*)::text end',
                case when part is null then '' else ' or ' || pg_temp.flowcraft_differs(plan, 'o', 'c', exact, part) end) end);
        rows := rows || ' cross join lateral ' || (old ->> 'payload') || ' cross join lateral ' || (old ->> 'key');
    end if;
    filter := case
        when operation = 'update' and paired then ' where o.there is null or n.there is null or ' || pg_temp.flowcraft_differs(plan, 'o', 'n', exact)
        when event and keyed and operation = 'delete' then ' where n.there is null'
        else '' end;
    rows := format('(select %s from %s%s offset 0) as s', fields, rows, filter);
    if not paired and source ->> 'parameter' is null and not shows then
        return format('select case when %1$s is null then ''e'' else ''s'' end::"char" as kind, %2$L::text as channel, '
            'coalesce(%1$s, s.payload) as payload from %3$s where s.there', reason, source ->> 'channel', rows);
    elsif not paired then
        return format('select case when s.channel is null or %1$s is not null then ''s'' else ''e'' end::"char" as kind, '
            'coalesce(s.channel, %2$s) as channel, case when s.channel is null then ''{"reason":"channel_name"}'' else coalesce(%1$s, s.payload) end as payload '
            'from %3$s where s.given', reason, family, rows);
    elsif source ->> 'parameter' is null and not shows then
        return format('select case when s.there is null then ''g'' when %1$s is null then ''e'' else ''s'' end::"char" as kind, %2$L::text as channel, '
            'case when s.there is null then s.key else coalesce(%1$s, s.payload) end as payload '
            'from %3$s where case when s.there then s.differs else %4$s end', reason, source ->> 'channel', rows, moves);
    end if;
    if shows and source ->> 'parameter' is null then
        -- On one channel a row is either shown or gone.
        return format('select case when s.channel is null then ''g'' when %1$s is null then ''e'' else ''s'' end::"char" as kind, %2$L::text as channel, '
            'case when s.channel is null then row_to_json(s.key)::text else coalesce(%1$s, s.payload) end as payload '
            'from %3$s where case when s.channel is null then s.old_channel is not null and %4$s else s.old_channel is null or s.differs end',
            reason, source ->> 'channel', rows, moves);
    end if;
    return format('select e.kind, e.channel, e.payload from %3$s cross join lateral (values '
        '(''g''::"char", s.old_channel, %5$s, s.old_channel is not null and s.old_channel is distinct from s.channel and %4$s), '
        '(case when s.channel is null or %1$s is not null then ''s'' else ''e'' end::"char", coalesce(s.channel, %2$s), '
        'case when s.channel is null then ''{"reason":"channel_name"}'' else coalesce(%1$s, s.payload) end, '
        's.given and (s.old_channel is distinct from s.channel or s.differs))) '
        'as e(kind, channel, payload, wanted) where e.wanted', reason, family, rows, moves,
        case when shows then 'case when s.old_channel is distinct from s.channel then row_to_json(s.key)::text end' else 's.key' end);
end $$;

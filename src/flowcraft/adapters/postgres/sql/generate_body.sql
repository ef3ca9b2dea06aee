-- generate_body: functions of this session that write the trigger function of a source, and name it and its triggers.

-- flowcraft_operations: the operations for which a source has a trigger.
create or replace function pg_temp.flowcraft_operations(source jsonb, plan jsonb) returns text[] language sql immutable as $$
    select array(select jsonb_array_elements_text(source -> 'on')
        union select 'delete' where (plan ->> 'keyed')::boolean and (source ->> 'gone')::boolean
        union select 'truncate' where (source ->> 'gone')::boolean or source -> 'on' ? 'delete' order by 1)
$$;

-- flowcraft_settings: the settings of a trigger function: what a value prints depends on the row alone, not on who writes it.
--
-- Each costs 1 to 4 microseconds a statement, so those that no column depends on are left out.
create or replace function pg_temp.flowcraft_settings(relation regclass, plan jsonb) returns text[] language sql stable as $$
    with printed(type) as (
        -- Both are read as JSON, which has one style.
        select case when t.typname in ('timestamp', 'timestamptz') and t.oid::text = c ->> 'type' then 'json ' else '' end || coalesce(e.typname, t.typname)
        from jsonb_array_elements(plan -> 'columns') as c cross join lateral pg_temp.flowcraft_base((c ->> 'type')::oid) as b
        join pg_type as t on t.oid = b.id left join pg_type as e on t.typcategory = 'A' and e.oid = t.typelem
    ), needed(type, setting) as (
        values ('timestamptz', 'timezone = utc'), ('json timestamptz', 'timezone = utc'), ('timestamptz', 'datestyle = iso, ymd'),
            ('date', 'datestyle = iso, ymd'), ('timestamp', 'datestyle = iso, ymd'), ('interval', 'intervalstyle = iso_8601'), ('float4', 'extra_float_digits = 1'),
            ('float8', 'extra_float_digits = 1'), ('bytea', 'bytea_output = hex'), ('money', format('lc_monetary = %s', quote_literal(
                (select s.reset_val from pg_settings as s where s.name = 'lc_monetary')))), ('regclass', 'quote_all_identifiers = off')
    )
    -- A plan that was made when the table was small is kept while it grows: rows are found by the index also then.
    select array['search_path = pg_catalog, pg_temp', 'row_security = off', 'jit = off']
        || case when (plan ->> 'keyed')::boolean then array['enable_seqscan = off'] else '{}' end
        -- What a condition means depends on these too; its constants are read as by default, with the month first.
        || case when plan ->> 'where' is not null then array['standard_conforming_strings = on', 'transform_null_equals = off', 'timezone = utc',
            'datestyle = iso, mdy', 'intervalstyle = iso_8601'] else '{}' end
        || array(select distinct n.setting from needed as n
            where (plan ->> 'where' is null or n.setting !~ '^(timezone|datestyle|intervalstyle) ') and (n.type in (select p.type from printed as p) or exists (
                select from printed as p where p.type not in (select k.type from needed as k) and p.type not in ('bool', 'int2',
                    'int4', 'int8', 'text', 'varchar', 'bpchar', 'char', 'name', 'uuid', 'json', 'jsonb', 'numeric', 'oid', 'inet',
                    'cidr', 'macaddr', 'bit', 'varbit', 'time', 'timetz', 'xid', 'xid8', 'json timestamp'))) order by 1)
$$;

-- flowcraft_everywhere: the name on which a record for all rows stands: the channel, or that of the whole family.
create or replace function pg_temp.flowcraft_everywhere(source jsonb) returns text language sql immutable as $$
    -- The rows of a table that a guard depends on need not have the parameter.
    select case when source ->> 'channel' like '%{%' then (source ->> 'prefix') || '.*' else source ->> 'channel' end
$$;

-- flowcraft_comparable: that a type `t` is compared by functions of PostgreSQL, not of the table's owner.
create or replace function pg_temp.flowcraft_comparable() returns text language sql immutable as $$
    select '(t.oid < 16384 or t.typtype = ''e'' or t.typtype = ''d'' and t.typbasetype < 16384)'
$$;

-- flowcraft_compared: whether the queries compare a column: one of the key or of the condition.
create or replace function pg_temp.flowcraft_compared(source jsonb, relation regclass, plan jsonb, col jsonb) returns boolean language sql stable as $$
    select exists (select from jsonb_array_elements(plan -> 'key') as k where k -> 'number' = col -> 'number')
        or col ->> 'name' = any (pg_temp.flowcraft_condition(source, relation))
$$;

-- flowcraft_key_names: the columns of the key.
create or replace function pg_temp.flowcraft_key_names(plan jsonb) returns name[] language sql immutable as $$
    select array(select (c ->> 'name')::name from jsonb_array_elements(plan -> 'key') with ordinality as k(part, place)
        join jsonb_array_elements(plan -> 'columns') as c on c -> 'number' = part -> 'number' order by place)
$$;

-- flowcraft_types: whether a table has its key, and whether the columns of a source, and those of its key or its condition, have the types that they have now.
create or replace function pg_temp.flowcraft_types(source jsonb, relation regclass, plan jsonb) returns text language sql stable as $$
    -- A type of PostgreSQL has the same id in every database. A session keeps what it has read of a type, until a relation changes that
    -- a constant of the type regclass names.
    select concat_ws(' and ', format('%L::regclass is not null', relation), string_agg(case when (c ->> 'type')::bigint < 16384
            then format('pg_typeof((null::%s).%I)::oid = %s', relation, c ->> 'name', c ->> 'type')
            else format('exists (select from pg_type as t where t.oid = pg_typeof((null::%s).%I) and %s)', relation, c ->> 'name',
                pg_temp.flowcraft_comparable()) end, ' and '),
        case when (plan ->> 'keyed')::boolean then format('flowcraft.has_key(%L::regclass, %L)', relation, pg_temp.flowcraft_key_names(plan)) end)
    from jsonb_array_elements(plan -> 'columns') as c
    where (c ->> 'type')::bigint < 16384 or pg_temp.flowcraft_compared(source, relation, plan, c)
$$;

-- flowcraft_wake: the statements of a trigger that notify the readers. Without the notification, as where the table of locks is full, they
-- find the records with their next poll. A cancellation ends the application's statement, as everywhere.
create or replace function pg_temp.flowcraft_wake() returns text language sql immutable as $$
    select $text$begin
        perform flowcraft.wake();
    exception
        when serialization_failure or deadlock_detected then
            raise;
        when others then
            raise log 'flowcraft: readers were not notified of a change of % (%), they find it with their next poll', tg_relid::regclass, sqlerrm;
            -- As flowcraft.wake has it: an event that was delivered must not be lost in a crash.
            if current_setting('synchronous_commit') = 'off' then
                perform set_config('synchronous_commit', 'local', true);
            end if;
    end;$text$
$$;

-- flowcraft_body: the text of the trigger function of a source.
--
-- What is computed is computed in a block that catches every error and writes nothing: such a block takes no transaction id. The
-- error of a statement is a record of kind `s`, never an error of the application's write. Only the events of many rows are written
-- in such a block, which takes one id: they are not kept in memory.
create or replace function pg_temp.flowcraft_body(source jsonb, relation regclass) returns text language plpgsql stable as $$
declare
    plan jsonb := pg_temp.flowcraft_plan(source, relation);
    keyed boolean := (plan ->> 'keyed')::boolean;
    now jsonb := to_jsonb(pg_temp.flowcraft_side(source, plan, 'c', false));
    old jsonb := to_jsonb(pg_temp.flowcraft_side(source, plan, 'o', false));
    now_careful jsonb := to_jsonb(pg_temp.flowcraft_side(source, plan, 'c', true));
    old_careful jsonb := to_jsonb(pg_temp.flowcraft_side(source, plan, 'o', true));
    place record;
    everywhere text := quote_literal(pg_temp.flowcraft_everywhere(source));
    operation text;
    by_statement text := '';
    by_row text := '';
    careful text := '';
    query text;
    types text;
    keys text;
    comparable text := pg_temp.flowcraft_comparable();
    field jsonb;
begin
    if source ->> 'event' = '@guard' then
        return pg_temp.flowcraft_guard(source, relation);
    end if;
    for field in select f from jsonb_array_elements(source -> 'fields') as f loop
        if (field ->> 'required')::boolean and not exists (select from jsonb_array_elements(plan -> 'fields') as f where f ->> 'name' = field ->> 'name') then
            raise exception 'channel %: table % has no column % for the field % of %; it has %', source ->> 'channel', relation,
                quote_ident(field ->> 'column'), field ->> 'name', source ->> 'event', (
                    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute as a
                    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
                ) using errcode = 'RT001',
                hint = format('Name the column: Table(..., %s="<column>").', field ->> 'name');
        end if;
    end loop;
    select c.relname as name, c.relnamespace::regnamespace::text as schema, n.nspname as nspname into place
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = relation;
    types := pg_temp.flowcraft_types(source, relation, plan);
    keys := (select string_agg(format('pg_typeof((null::%s).%I)', plan ->> 'relation', c ->> 'name'), ', ') from jsonb_array_elements(plan -> 'columns') as c
        where pg_temp.flowcraft_compared(source, relation, plan, c));
    foreach operation in array array_remove(pg_temp.flowcraft_operations(source, plan), 'truncate') loop
        query := replace(pg_temp.flowcraft_query(source, plan, operation, now, old, true), plan ->> 'relation', relation::text);
        by_statement := by_statement || format($text$
                %s tg_op = %L then%s
                    select array_agg(r.kind), array_agg(r.channel), array_agg(r.payload) into kinds, channels, payloads from (%s limit 10001) as r;$text$,
            case when by_statement = '' then 'if' else 'elsif' end, upper(operation),
            case when keyed and operation = 'update' then format($text$
                    if not exists (select from (%s) as o left join (%s) as n on true where n.there is null or %s) then
                        return null;
                    end if;$text$, pg_temp.flowcraft_rows(plan, 'flowcraft_old', true), pg_temp.flowcraft_rows(plan, 'flowcraft_new', true),
                pg_temp.flowcraft_differs(plan, 'o', 'n', true)) else '' end, query);
        by_row := by_row || format($text$
                %s tg_op = %L then
                    select array_agg(r.kind), array_agg(r.channel), array_agg(r.payload) into kinds, channels, payloads from (%s) as r;$text$,
            case when by_row = '' then 'if' else 'elsif' end, upper(operation),
            replace(replace(query, 'flowcraft_old as x', '(select (old).*) as x'), 'flowcraft_new as x', '(select (new).*) as x'));
        careful := careful || format(' when %L then %L', upper(operation), pg_temp.flowcraft_query(source, plan, operation, now_careful, old_careful, false));
    end loop;
    if keyed then
        careful := careful || format(' when ''TRUNCATE'' then %L', pg_temp.flowcraft_query(source, plan, 'truncate', now_careful, old_careful, false));
    end if;
    return format($body$
#variable_conflict use_column
declare
    kinds "char"[];
    channels text[];
    payloads text[];
    bulk boolean;
    same boolean;
    relation text;
    query text;
    written bigint;
    state text;
    message text;
begin
    -- `enable trigger user` enables the triggers of rows for every session; they are for those that replicate.
    if tg_level = 'ROW' and current_setting('session_replication_role') <> 'replica' then
        return null;
    end if;
    begin
        -- A partition that has left its table has rows of another one. Two statements: a query costs 10 microseconds.
        if tg_nargs > 2 then
            if not exists (
                select from pg_inherits as i join pg_trigger as t on t.tgrelid = i.inhparent and left(t.tgname, 18) = left(tg_name, 18)
                where i.inhrelid = tg_relid
            ) then
                return null;
            end if;
        end if;
        same := tg_op <> 'TRUNCATE' and (tg_table_name = %1$L and tg_table_schema = %2$L
            or coalesce(pg_partition_root(tg_relid)::regclass::text = %3$L, false));
        if same then
            same := %4$s;
        end if;
        if same and tg_level = 'STATEMENT' then%5$s
            end if;
            bulk := cardinality(kinds) > 10000;
        elsif same then%6$s
            end if;
        elsif tg_op = 'TRUNCATE' and %7$s then
            kinds := array['r'::"char"];
        else
            bulk := true;
        end if;
        -- `enable always` enables those of statements for sessions that replicate.
        if tg_level = 'STATEMENT' and tg_op <> 'TRUNCATE' and current_setting('session_replication_role') = 'replica' then
            return null;
        end if;
    exception
        when serialization_failure or deadlock_detected then
            raise;
        when others then
            get stacked diagnostics state = returned_sqlstate, message = message_text;
            kinds := array[case when tg_op = 'TRUNCATE' then 'r' else 's' end::"char"];
            -- An array has at most 1 GB.
            bulk := tg_level = 'STATEMENT' and state in ('54000', '53200', 'XX000');
    end;
    if bulk then
        kinds := null;
        channels := null;
        payloads := null;
        begin
            relation := coalesce(pg_partition_root(tg_relid), tg_relid)::regclass::text;
            query := replace(replace(case tg_op%8$s end, %11$L, relation), %12$L, tg_relid::regclass::text);%9$s
            if tg_level = 'ROW' then
                query := replace(replace(query, 'flowcraft_old as x', '(select ($1).*) as x'), 'flowcraft_new as x', '(select ($2).*) as x');
            end if;
            execute 'insert into flowcraft.event (kind, channel, payload) ' || query using old, new;
            get diagnostics written = row_count;
            if tg_op = 'TRUNCATE' and written > 10000 then
                raise exception using errcode = 'RT005';
            elsif written = 0 then
                return null;
            end if;
        exception
            when serialization_failure or deadlock_detected then
                raise;
            when others then
                get stacked diagnostics state = returned_sqlstate, message = message_text;
                kinds := array[case when tg_op = 'TRUNCATE' then 'r' else 's' end::"char"];
        end;
    end if;
    if kinds is null and bulk is not true then
        return null;
    elsif channels is null and kinds is not null then
        channels := array[%10$s];
        payloads := array[case when tg_op = 'TRUNCATE' then '{"reason":"truncated"}' else json_build_object('reason', 'error', 'sqlstate', state,
            -- The message of any other error may have a value in it.
            'message', case when state like '42%%' or state = 'RT005' then message end, 'table', tg_relid::regclass::text)::text end];
%13$s    end if;
    if kinds is not null then
        -- The slot is looked up once, not for every row.
        insert into flowcraft.event (slot, kind, channel, payload)
        select (select coalesce(pg_sequence_last_value('flowcraft.event_slot'), 0)), unnest(kinds), unnest(channels), unnest(payloads);
    end if;
    %14$s
    return null;
end $body$,
        place.name, place.nspname, relation::text, types, by_statement, by_row,
        case when keyed then 'current_setting(''transaction_isolation'') not in (''read committed'', ''read uncommitted'')' else 'true' end,
        careful, case when keyed then format($text$
            execute replace(%1$L, %2$L, relation) into same;
            if not same then
                raise exception using errcode = 'RT005', message = 'the type of a column of the key has changed';
            end if;
            -- Each row would be looked for in the whole table.
            if tg_op <> 'TRUNCATE' and not flowcraft.has_key(relation::regclass, %3$L) and greatest(
                pg_relation_size(relation::regclass), (select sum(pg_relation_size(t.relid)) from pg_partition_tree(relation::regclass) as t)) > 131072 then
                raise exception using errcode = 'RT005', message = 'the unique index on the key is gone';
            end if;$text$, format('select bool_and(%s) from pg_type as t where t.oid in (%s)', comparable, keys), plan ->> 'relation', pg_temp.flowcraft_key_names(plan)) else '' end, everywhere, plan ->> 'relation', plan ->> 'table',
        -- Which rows have changed is not known: the pages read them again.
        case when source ? 'key' then $text$
        if kinds[1] = 's' then
            kinds := kinds || 'r'::"char";
            channels := channels || channels;
            payloads := payloads || '{"reason":"unreadable"}'::text;
        end if;
$text$ else '' end, pg_temp.flowcraft_wake());
end $$;

-- flowcraft_function: the name of the trigger function of a source on a table.
--
-- One declared source can be on several tables: one schema per tenant. 48 and 8 of the 63 bytes of a name; "flowcraft_", the
-- digest and the operation make the names of the triggers.
create or replace function pg_temp.flowcraft_function(source jsonb, relation regclass) returns text language sql stable as $$
    select format('%s_%s', left(source ->> 'prefix', 48), left(md5(concat_ws(' ', source ->> 'channel', source ->> 'table', source ->> 'event',
        nullif((source ->> 'place')::int, 0),
        (select n.nspname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
            where c.oid = relation and n.nspname <> 'public' and array_length(parse_ident(source ->> 'table'), 1) = 1))), 8))
$$;

-- flowcraft_triggers: the triggers of a source: on its table, and on each of its partitions and children, which may be written to
-- directly. A trigger of statements is called for the table that a statement names. Logical replication and sessions
-- that have `session_replication_role = replica` call triggers of rows, if these are enabled for that.
create or replace function pg_temp.flowcraft_triggers(source jsonb, relation regclass, function text)
returns table (place oid, name text, definition text) language plpgsql stable as $$
declare
    plan jsonb := pg_temp.flowcraft_plan(source, relation);
    operations text[] := pg_temp.flowcraft_operations(source, plan);
    arguments text := format('%L, %L', pg_temp.flowcraft_everywhere(source), case when 'truncate' = any (operations) then 'truncate' else '' end);
    -- The role that adds a partition to a table must have the right to call the functions of the triggers of rows that it gets from there.
    inherited boolean := (select pg_has_role(c.relowner, pg_temp.flowcraft_role(), 'usage') from pg_class as c where c.oid = relation);
    made record;
begin
    for made in
        with recursive tree as (
            select c.oid, c.relkind, true as top from pg_class as c where c.oid = relation
            union select c.oid, c.relkind, false from tree join pg_inherits as i on i.inhparent = tree.oid
                join pg_class as c on c.oid = i.inhrelid and c.relkind in ('r', 'p')
        )
        select t.oid, t.relkind, t.top, c.relispartition, o.operation, pg_has_role(pg_temp.flowcraft_role(), c.relowner, 'usage') as owned
        from tree as t join pg_class as c on c.oid = t.oid cross join unnest(operations) as o(operation)
        -- Each partition that holds rows is truncated by itself, also with its parent.
        where o.operation <> 'truncate' or t.relkind = 'r' order by t.oid::regclass::text, o.operation
    loop
        place := made.oid;
        name := format('flowcraft_%s_%s', right(function, 8), made.operation);
        definition := format('create or replace trigger %I %s %s on %s%s for each statement execute function flowcraft.%I(%s);', name,
            case made.operation when 'truncate' then 'before' else 'after' end, made.operation, made.oid::regclass,
            case made.operation when 'truncate' then '' when 'insert' then ' referencing new table as flowcraft_new'
                when 'delete' then ' referencing old table as flowcraft_old'
                else ' referencing old table as flowcraft_old new table as flowcraft_new' end, function,
                arguments || case when made.top then '' else ', ''part''' end)
            || case when made.operation = 'truncate' and made.owned then format(' alter table %s enable always trigger %I;', made.oid::regclass, name) else '' end;
        return next;
        -- Who only has the privilege TRIGGER cannot enable them like this.
        if made.operation <> 'truncate' and made.owned and (inherited and (made.top or not made.relispartition) or not inherited and made.relkind = 'r') then
            name := format('flowcraft_%s_%s_replica', right(function, 8), made.operation);
            definition := format('create or replace trigger %I after %s on %s for each row execute function flowcraft.%I(%s);'
                ' alter table %s enable replica trigger %I;', name, made.operation, made.oid::regclass, function,
                arguments || case when made.top then '' else ', ''part''' end, made.oid::regclass, name);
            return next;
        end if;
    end loop;
end $$;

-- flowcraft_present: the triggers that call a function of ours, but for those that partitions have from their table.
create or replace function pg_temp.flowcraft_present(function text)
returns table (place oid, name text, enabled "char", fits boolean) language sql stable as $$
    -- `enable trigger user` has enabled a trigger of rows for sessions that do not replicate.
    select t.tgrelid, t.tgname::text, t.tgenabled, not (t.tgenabled = 'O' and t.tgname like '%\_replica') from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid
    where p.pronamespace = to_regnamespace('flowcraft') and p.proname = function and t.tgparentid = 0
$$;

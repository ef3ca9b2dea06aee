-- generate_guard: the function of this session that writes the trigger function of a table that a guard depends on.
--
-- A change of a row is a withdrawal with `ask`, for the person and the channel that the row names before and after it: the
-- servers hold the events of that subscription back until the guard has answered again. Where a row does not name one, where
-- a statement changes more than 1,000 of them, and where anything fails, the guards of all viewers or channels are asked.

-- flowcraft_guard: the text of the trigger function.
create or replace function pg_temp.flowcraft_guard(source jsonb, relation regclass) returns text language plpgsql stable as $$
declare
    whole jsonb := pg_temp.flowcraft_plan(source, relation);
    plan jsonb;
    everywhere text := pg_temp.flowcraft_everywhere(source);
    everybody text := json_build_object('viewer', null, 'channel', everywhere, 'ask', true)::text;
    viewer text := 'null::text';
    channel text := quote_literal(everywhere);
    field jsonb;
    col jsonb;
    printed text;
    types text;
    old_rows text;
    new_rows text;
    pairs text := '(select distinct %s as viewer, %s as channel from (%s) as o limit 1001) as c where c.viewer is null or octet_length(c.viewer) <= 16384';
    operation text;
    query text;
    by_statement text := '';
    by_row text := '';
begin
    plan := whole || jsonb_build_object('columns', (select coalesce(jsonb_agg(c), '[]') from jsonb_array_elements(whole -> 'columns') as c
        where exists (select from jsonb_array_elements(source -> 'fields') as f where f ->> 'column' = c ->> 'name')));
    for field in select f from jsonb_array_elements(source -> 'fields') as f loop
        col := (select c from jsonb_array_elements(plan -> 'columns') as c where c ->> 'name' = field ->> 'column');
        if col is null then
            raise exception 'channel %: the guard depends on %, which has no column % for %; it has %: write columns={"%": "<column>"}',
                source ->> 'channel', relation, quote_ident(field ->> 'column'), field ->> 'name', (
                    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute as a
                    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
                ), field ->> 'name' using errcode = 'RT001';
        end if;
        printed := (pg_temp.flowcraft_read((col ->> 'type')::oid, field, format('o.c%s', col ->> 'number'))).quick;
        if field ->> 'name' = source ->> 'parameter' then
            channel := format('case when (%1$s) collate "C" ~ %2$L then %3$L || %1$s else %4$L end', printed, case source ->> 'parameter_type'
                when 'int' then '^(0|-?[1-9][0-9]{0,18})$' when 'uuid' then '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                else '^[A-Za-z0-9_-]{1,64}$' end, (source ->> 'prefix') || '.', everywhere);
        else
            -- A text that two values print alike, or one value in two ways, names no viewer: a withdrawal for it would reach none.
            if not exists (
                select from pg_temp.flowcraft_base((col ->> 'type')::oid) as b join pg_type as t on t.oid = b.id
                join pg_attribute as a on a.attrelid = relation and a.attname = field ->> 'column'
                left join pg_collation as l on l.oid = a.attcollation
                where t.oid < 16384 and t.typname in ('text', 'varchar', 'name', 'int2', 'int4', 'int8', 'uuid')
                    and (l.oid is null or l.collisdeterministic)
            ) then
                raise exception 'channel %: the guard depends on %, whose column % is %: its text may differ from the subject of a viewer; '
                    'use a column of type text, an integer or uuid, or leave % out and all viewers are asked', source ->> 'channel', relation,
                    quote_ident(field ->> 'column'), (select format_type(a.atttypid, a.atttypmod) || coalesce((
                        select ' with the collation ' || l.collname from pg_collation as l where l.oid = a.attcollation and not l.collisdeterministic), '')
                        from pg_attribute as a where a.attrelid = relation and a.attname = field ->> 'column'),
                    field ->> 'name' using errcode = 'RT001';
            end if;
            viewer := printed;
        end if;
    end loop;
    types := (select format('(select count(*) from pg_attribute as a where a.attrelid = tg_relid and (a.attname, a.atttypid::bigint) in (%s)) = %s',
            string_agg(format('(%L, %s)', c ->> 'name', c ->> 'type'), ', '), count(*))
        from jsonb_array_elements(plan -> 'columns') as c);
    old_rows := pg_temp.flowcraft_rows(plan, 'flowcraft_old', true);
    new_rows := pg_temp.flowcraft_rows(plan, 'flowcraft_new', true);
    foreach operation in array array_remove(pg_temp.flowcraft_operations(source, plan), 'truncate') loop
        query := format(pairs, viewer, channel, case operation when 'insert' then new_rows when 'delete' then old_rows
            else old_rows || ' union all ' || new_rows end);
        query := format('select case when count(*) > 1000 then array[%L] else '
            'array_agg(json_build_object(''viewer'', c.viewer, ''channel'', c.channel, ''ask'', true)::text) end into payloads from %s;', everybody, query);
        by_statement := by_statement || format(e'\n                when tg_op = %L then %s', upper(operation), query);
        by_row := by_row || format(e'\n                when tg_op = %L then %s', upper(operation),
            replace(replace(query, 'flowcraft_old as x', '(select (old).*) as x'), 'flowcraft_new as x', '(select (new).*) as x'));
    end loop;
    return format($body$
#variable_conflict use_column
declare
    payloads text[];
begin
    -- A guard depends on this table.
    -- `enable trigger user` enables the triggers of rows for every session; they are for those that replicate.
    if tg_op <> 'TRUNCATE' and (tg_level = 'ROW') <> (current_setting('session_replication_role') = 'replica') then
        return null;
    end if;
    begin
        if tg_op = 'TRUNCATE' or not %1$s then
            payloads := array[%2$L];
        elsif tg_level = 'STATEMENT' then
            case%3$s
            end case;
        else
            case%4$s
            end case;
        end if;
    exception
        when serialization_failure or deadlock_detected then
            raise;
        when others then
            payloads := array[%2$L];
    end;
    if payloads is null then
        return null;
    end if;
    insert into flowcraft.event (kind, channel, payload) select 'w', '*', p from unnest(payloads) as p;
    %5$s
    return null;
end $body$, types, everybody, by_statement, by_row, pg_temp.flowcraft_wake());
end $$;

-- generate_columns: functions of this session that decide how a column is read, and which of its values its field cannot hold.
--
-- The trigger has our rights, and the owner of the table may give a column another type at any time. A type that is not
-- PostgreSQL's own (those have ids below 16384) may have casts that call a function of its owner, and row_to_json looks
-- for them. So no value of such a type is cast or made JSON here: `format` takes the text that the value prints, which is
-- then read as text, or as the type of PostgreSQL below a domain. `quick` and `careful` are the same value; `quick` is for
-- rows whose column has the type that it has now.

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

-- flowcraft_scalar: a value of a type as JSON has it for a field that takes `takes`; and when the field cannot hold it.
--
-- Null: the value as it is. `unfit` is null where the field holds every value. Both are texts of SQL about `value`.
create or replace function pg_temp.flowcraft_scalar(type text, takes text, value text, out written text, out unfit text)
language sql immutable as $$
    select case
        when type = 'bytea' then format('translate(encode(%s, ''base64''), e''\n'', '''')', value)
        when type = 'money' and takes in ('number', 'integer') then format('%s::numeric', value)
        when type in ('oid', 'xid', 'cid', 'xid8') and takes in ('number', 'integer') then format('%s::text::int8', value)
        -- Readers of Python know offsets with minutes only, and no signs inside of a duration.
        when type = 'timetz' and takes = 'time' then
            format('%1$s::text || case when %1$s::text ~ ''[-+][0-9][0-9]$'' then '':00'' else '''' end', value)
        when type = 'interval' and takes = 'duration' then format(
            'case when %1$s::text !~ ''-'' then %1$s::text else regexp_replace(format(''PT%%sS'', '
            'trim_scale(extract(epoch from %1$s))), ''^PT-'', ''-PT'') end', value)
    end,
    case
        when type in ('float4', 'float8', 'numeric') and takes in ('number', 'integer') then format('%1$s - %1$s <> 0', value)
            || case when takes = 'integer' then format(' or abs(%1$s) > 9007199254740991 or %1$s <> trunc(%1$s)', value) else '' end
        when type in ('int8', 'xid8') and takes = 'integer' then
            format('not %s between -9007199254740991 and 9007199254740991', case type when 'int8' then value else value || '::text::int8' end)
        when type in ('date', 'timestamp', 'timestamptz') and takes in ('date', 'datetime') then
            format('not %s between ''0001-01-01'' and ''9999-12-31 23:59:59.999999''', value)
        when type in ('time', 'timetz') and takes = 'time' then format('%s::time = ''24:00''', value)
        when type = 'interval' and takes = 'duration' then format(
            'not isfinite(%1$s) or extract(month from %1$s) <> 0 or extract(year from %1$s) <> 0 or abs(extract(epoch from %1$s)) > 86399999913600', value)
    end
$$;

-- flowcraft_read: how a field is read from the column `value`, of the type `given`; and what marks a value as unfit, as JSON.
--
-- What is careful has to parse whatever the type of the column is by then: a value of the type `given` is read again from its text.
create or replace function pg_temp.flowcraft_read(
    given oid, field jsonb, value text, printed_first boolean default false,
    out quick text, out careful text, out unfit text, out unfit_careful text
)
language plpgsql stable as $$
declare
    wanted text := field ->> 'cast';
    takes text := field ->> 'takes';
    own text := format('pg_typeof(%s)::oid < 16384', value);
    same text := format('pg_typeof(%s)::oid = %s', value, given);
    texts text := format('pg_typeof(%s)::oid in (%s)', value, (select string_agg(t.oid::text, ', ' order by t.oid) from pg_type as t
        where t.oid < 16384 and t.typname in ('_text', '_varchar', '_bpchar', '_name')));
    again record;
    printed text := format('when num_nonnulls(%1$s) = 1 then format(''%%s'', %1$s)', value);
    type pg_type;
    element text;
    one record;
    held text := value;
    reported text := format(' then %L', format('{"reason":"value","field":%s}', to_json(field ->> 'name')));
    list text := (select string_agg(quote_literal(v), ', ') from jsonb_array_elements_text(nullif(field -> 'one_of', 'null')) as v);
begin
    select t.* into strict type from pg_temp.flowcraft_base(given) as b join pg_type as t
        on t.oid = case when b.own then b.id when (select category.typcategory from pg_type as category where category.oid = b.id) = 'A'
            then '_text'::regtype::oid else 'text'::regtype::oid end;
    if given >= 16384 or printed_first then
        held := format('(case %s end)::pg_catalog.%I', printed, type.typname);
    end if;
    if type.typcategory = 'A' then
        element := (select e.typname from pg_type as e where e.oid = type.typelem);
        one := pg_temp.flowcraft_scalar(element, replace(takes, '[]', ''), 'i.v');
        if wanted = 'text[]' and element in ('timestamptz', 'timestamp') then
            one.written := 'btrim(to_json(i.v)::text, ''"'')';
        end if;
        if one.written is not null then
            quick := format('(select array_agg(%s order by i.place) from unnest(%s) with ordinality as i(v, place))', one.written, held);
            quick := format('case when cardinality(%1$s) = 0 then ''{}'' else %2$s end', held, quick);
        end if;
        unfit := 'exists (select from unnest(' || held || ') as i(v) where ' || one.unfit || ')';
    else
        one := pg_temp.flowcraft_scalar(type.typname::text, takes, held);
        quick := one.written;
        unfit := one.unfit;
        if list is not null and wanted is null then
            unfit := format('%s::text <> all (array[%s])', held, list);
        end if;
    end if;
    quick := case
        when wanted = 'text' and type.typname in ('timestamptz', 'timestamp') then format('btrim(to_json(%s)::text, ''"'')', held)
        when wanted = 'text' and type.typname = 'money' and takes = 'decimal' then format('%s::numeric::text', held)
        when quick is not null and wanted = 'text[]' then quick
        when wanted is not null then format('%s::%s', held, wanted)
        else coalesce(quick, held)
    end;
    if printed_first then
        return;
    end if;
    again := pg_temp.flowcraft_read(given, field, value, true);
    -- A value of another type than the column had is a text, which only some fields hold.
    unfit_careful := case when given >= 16384 then unfit
        when list is not null and wanted is null then
            format('case when num_nonnulls(%1$s) = 1 then format(''%%s'', %1$s) <> all (array[%2$s]) end', value, list)
        when wanted = 'text[]' then format('case when %s then %s when %s then false else num_nonnulls(%s) = 1 end',
            same, coalesce(again.unfit, 'false'), texts, value)
        when takes <> 'decimal' then format('case when %s then %s when %s then false else num_nonnulls(%s) = 1 end',
            same, coalesce(again.unfit, 'false'), own, value) end;
    unfit := 'when ' || unfit || reported;
    unfit_careful := 'when ' || unfit_careful || reported;
    careful := case
        when given >= 16384 then quick
        when wanted is null then format('case when %1$s then to_json(%2$s) when %3$s then to_json(%4$s) '
            'when num_nonnulls(%4$s) = 1 then to_json(format(''%%s'', %4$s)) end', same, again.quick, own, value)
        when wanted = 'text' then format('case when %s then %s when %s then %s::text %s end', same, again.quick, own, value, printed)
        else format('case when %1$s then %2$s when %3$s then %4$s::text::text[] when num_nonnulls(%4$s) = 1 then array[format(''%%s'', %4$s)] end',
            same, again.quick, texts, value)
    end;
end $$;

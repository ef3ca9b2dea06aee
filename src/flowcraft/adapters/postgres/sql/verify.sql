-- verify: refuse a log that the migrations of this version neither made nor can take over, before anything is changed.
--
-- RT004 marks the refusal. A log whose migrations have no hash is one of a development version.
do $flowcraft_verify$
declare
    found text;
begin
    if to_regclass('flowcraft.migration') is null then
        return;
    end if;
    select string_agg(format('%s has the hash %s, not %s', m.name, left(m.hash, 12), left(o.hash, 12)), ', ' order by m.version)
    into found
    from (
\ir applied.sql
    ) as m
    join jsonb_to_recordset($1::jsonb) as o(version integer, name text, hash text) on o.version = m.version
    where m.hash <> o.hash;
    if found is not null then
        raise exception 'another version of flowcraft-realtime migrated this database: % in this version; nothing was changed; '
            'migrate with the version that was used before, or, if the events may go, run `drop schema flowcraft cascade` and '
            'migrate again', found using errcode = 'RT004';
    end if;
    if not exists (select from flowcraft.migration as m where to_jsonb(m) ->> 'hash' is null) then
        return;
    end if;

    select string_agg(coalesce(
        'flowcraft.' || s.relation || ' has no column ' || s.attribute, 'there is no flowcraft.' || s.relation
    ), ', ' order by s.relation, s.attribute) into found
    from (values (1, 'event', 'id', 'bigint'), (1, 'event', 'xid', 'xid8'), (1, 'event', 'slot', 'smallint'),
        (1, 'event', 'channel', 'text'), (1, 'event', 'payload', 'text'), (1, 'event_0', 'slot', 'smallint'),
        (1, 'event_1', 'slot', 'smallint'), (1, 'event_2', 'slot', 'smallint'), (1, 'event_3', 'slot', 'smallint'),
        (1, 'event_slot', null, null), (1, 'event_floor', null, null), (1, 'state', 'only_row', 'boolean'),
        (1, 'state', 'system', 'bigint'), (1, 'state', 'generation', 'integer'), (2, 'slot', 'slot', 'smallint'),
        (2, 'slot', 'opened_at', 'timestamp with time zone'), (2, 'slot', 'settled_at', 'timestamp with time zone'),
        (2, 'slot', 'newest', 'xid8'), (3, 'event', 'trace', 'text')
    ) as s(version, relation, attribute, type)
    join flowcraft.migration as m on m.version = s.version
    where to_regclass('flowcraft.' || s.relation) is null or s.attribute is not null and not exists (
        select from pg_attribute as a
        where a.attrelid = to_regclass('flowcraft.' || s.relation) and a.attname = s.attribute and not a.attisdropped
            and format_type(a.atttypid, null) = s.type
    );
    if found is not null then
        raise exception 'an early development version made the log of this database, which cannot be taken over: %; nothing was '
            'changed; if its events may go, run `drop schema flowcraft cascade` and migrate again', found using errcode = 'RT004';
    end if;

    -- The names stand in the text of a function; views, defaults and policies know a function by its id, and go along.
    select string_agg(e'\n  ' || line || ';', '' order by line) into found from (
        select format('function %s, of role %s: write %s', p.oid::regprocedure, quote_ident(pg_get_userbyid(p.proowner)),
            string_agg(format('%s instead of %s', r.new, r.old), ', ' order by r.new)) as line
        from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
        join (values ('flowcraft.broadcast', 'flowcraft.emit'), ('flowcraft.broadcast_ephemeral', 'flowcraft.announce'),
            ('flowcraft.wake', 'flowcraft.ring'), ('broadcast_at', 'stated_at')) as r(new, old)
            on case when r.old = 'stated_at' then p.prosrc ~* '\mflowcraft\M' and p.prosrc ~* '\mstated_at\M'
                else p.prosrc ~* format('\mflowcraft"?\s*\.\s*"?%s"?\s*\(', split_part(r.old, '.', 2))
                    or exists (select from unnest(p.proconfig) as s where s ~ '^search_path=.*\mflowcraft\M')
                        and p.prosrc ~* format('(^|[^.\w"])"?%s"?\s*\(', split_part(r.old, '.', 2)) end
        where n.nspname <> 'pg_catalog' and not (n.nspname = 'flowcraft' and (
            p.proname in ('emit', 'announce', 'broadcast', 'broadcast_ephemeral')
            or coalesce(obj_description(p.oid, 'pg_proc'), '') like 'flowcraft:%'))
        group by p.oid, p.proowner
        union all
        select format('function %s, of role %s: rename or drop it, for %s gets this name', o.new, pg_get_userbyid(p.proowner), o.old)
        from (values ('flowcraft.broadcast(text,json)', 'flowcraft.emit(text,json)'),
            ('flowcraft.broadcast_ephemeral(text,json)', 'flowcraft.announce(text,json)'), ('flowcraft.wake()', 'flowcraft.ring()')
        ) as o(new, old)
        join pg_proc as p on p.oid = to_regprocedure(o.new)
        where to_regprocedure(o.old) is not null
    ) as lines;
    if found is not null then
        raise exception 'a development version migrated this database; its functions get other names, and these need the old ones; '
            'nothing was changed; change them just before (`set check_function_bodies = off` takes a name that is not there '
            'yet), then migrate again:%', found using errcode = 'RT004';
    end if;
end $flowcraft_verify$;

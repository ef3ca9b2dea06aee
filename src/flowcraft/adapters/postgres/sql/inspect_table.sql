-- inspect_table: the kind and the columns of a table. $1 its quoted name. A domain counts as the type below it. After `install`.
select
    c.oid::regclass::text as name,
    c.relkind in ('r', 'p') as is_table,
    coalesce((
        select json_agg(json_build_object(
            'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'base', b.typname, 'category', b.typcategory,
            'element', e.typname,
            -- The texts to which an enum or `check (status in ('queued', 'running'))` limits it, and whether anything checks it.
            'labels', coalesce((select json_agg(l.enumlabel order by l.enumsortorder) from pg_enum as l
                where l.enumtypid in (a.atttypid, t.typbasetype)), (
                select json_agg(replace(word[1], '''''', '''')) from pg_constraint as k,
                    regexp_matches(pg_get_constraintdef(k.oid), '''((?:[^'']|'''')*)''::', 'g') as word
                where k.conrelid = c.oid and k.contype = 'c' and k.conkey = array[a.attnum]
                    and pg_get_constraintdef(k.oid) ~ '^CHECK \(\("?\w+"? = ANY \(ARRAY\[[^\]]*\]\)\)\)$'), '[]'),
            'checked', t.typtype = 'e' or exists (select from pg_constraint as k where k.contype = 'c'
                and (k.conrelid = c.oid and a.attnum = any (k.conkey) or k.contypid = a.atttypid)),
            'nullable', not (a.attnotnull or t.typnotnull)
        ) order by a.attnum)
        from pg_attribute as a
        join pg_type as t on t.oid = a.atttypid
        cross join lateral pg_temp.flowcraft_base(t.oid) as below
        join pg_type as b on b.oid = below.id
        left join pg_type as e on b.typcategory = 'A' and e.oid = b.typelem
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    ), '[]')::text as columns
from pg_class as c
where c.oid = (
\ir relation.sql
)

-- inspect_table: the kind and the columns of a table. $1 its quoted name. A domain counts as the type below it. After `install`.
select
    c.oid::regclass::text as name,
    c.relkind in ('r', 'p') as is_table,
    coalesce((
        select json_agg(json_build_object(
            'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'base', b.typname, 'category', b.typcategory,
            'element', e.typname,
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

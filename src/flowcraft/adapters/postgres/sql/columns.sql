-- columns: the columns of a table, with what decides which type of Python holds their values. After `pin`.
with relation(id) as (
\ir relation.sql
), c as (
    select a.attnum, a.attname, a.attnotnull or t.typnotnull as required,
           a.atthasdef or a.attidentity <> '' or a.attgenerated <> '' as filled,
           case when t.typtype = 'd' then t.typbasetype else t.oid end as type,
           nullif(greatest(case when t.typtype = 'd' then t.typtypmod else a.atttypmod end - 4, 0), 0) as size
    from pg_attribute as a join pg_type as t on t.oid = a.atttypid
    where a.attrelid = (select id from relation) and a.attnum > 0 and not a.attisdropped
)
select c.attname as name, coalesce(e.typname, t.typname) as type, e.oid is not null as is_array, c.required, c.filled,
       case when coalesce(e.typname, t.typname) in ('varchar', 'bpchar') then c.size end as length,
       coalesce(
           (select array_agg(l.enumlabel::text order by l.enumsortorder) from pg_enum as l
            where l.enumtypid = coalesce(e.oid, t.oid)),
           -- `status in ('queued', 'running')` is kept by PostgreSQL as `status = any (array[…])`.
           (select array_agg(replace(word[1], '''''', '''')) from pg_constraint as k,
                   regexp_matches(pg_get_constraintdef(k.oid), '''((?:[^'']|'''')*)''::', 'g') as word
            where k.conrelid = (select id from relation) and k.contype = 'c' and k.conkey = array[c.attnum]
                  and pg_get_constraintdef(k.oid) ~ '^CHECK \(\("?\w+"? = ANY \(ARRAY\[[^\]]*\]\)\)\)$'),
           '{}'
       ) as labels
from c join pg_type as t on t.oid = c.type left join pg_type as e on t.typcategory = 'A' and e.oid = t.typelem
order by c.attnum

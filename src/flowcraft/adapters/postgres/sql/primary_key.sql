-- primary_key: the columns of the primary key of a table, in their order. $1 its quoted name.
select a.attname as name
from pg_index as i cross join unnest(i.indkey) with ordinality as k(number, place)
join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.number
where i.indisprimary and i.indrelid = (
\ir relation.sql
)
order by k.place

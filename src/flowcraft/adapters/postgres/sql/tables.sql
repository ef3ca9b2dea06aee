-- tables: the names of the application's tables, with their schemas after `pin`.
select c.oid::regclass::text as name from pg_class as c
where c.relkind in ('r', 'p') and not c.relispartition
      and c.relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema', 'flowcraft')
      and c.relnamespace::regnamespace::text not like 'pg\_%'
order by 1

-- applied: the migrations that were applied. A development version stored no hash, and its table has no such column.
select m.version, m.name, pg_catalog.to_jsonb(m) ->> 'hash' as hash from flowcraft.migration as m order by m.version

-- read: one row that tells the position (id 0: its snapshot, and the rest as JSON), then what became visible.
--
-- Of the cursor: $1 its lineage, $2 xmax, $3 xip, $4 xmin. $5 channels or null, $6 most rows or null. After a cursor
-- of another history, or from before the log begins, nothing is looked up. What takes values of any type is qualified: a
-- function of another role on the search_path that takes just these would be called before it.
with here as materialized (select * from flowcraft.position())
select 0::bigint as id, 0::bigint as xid, snapshot::text as channel, pg_catalog.json_build_object(
    'system', system, 'timeline', timeline, 'generation', generation, 'floor', floor::text::bigint,
    'newest', newest::text::bigint, 'at', at
)::text as payload, null as trace, null::timestamptz as stated_at
from here
union all
select d.id, d.xid::text::bigint, d.channel, d.payload, d.trace, d.stated_at
from here cross join lateral flowcraft.difference($2::text::xid8, $3::text[]::xid8[], $5::text[], $6::bigint) as d
where $1::text = pg_catalog.format('%s/%s.%s', here.system, here.timeline, here.generation) and $4::text::xid8 >= here.floor
order by id

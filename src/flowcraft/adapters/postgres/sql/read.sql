-- read: one row with the position (id 0: its snapshot, and the rest as JSON), then the events that became visible.
--
-- Of the cursor: $1 its lineage, $2 xmax, $3 xip, $4 xmin. $5 channels or null, $6 most rows or null. After a cursor
-- of another history, or from before the log begins, no events are looked up. Functions that take values of any type are
-- qualified: one of another role on the search_path that takes exactly these types would be called instead.
with reached as materialized (select * from flowcraft.position())
select 0::bigint as id, 0::bigint as xid, snapshot::text as channel, pg_catalog.json_build_object(
    'system', system, 'timeline', timeline, 'generation', generation, 'floor', floor::text::bigint,
    'newest', newest::text::bigint, 'at', at
)::text as payload, null as trace, null::timestamptz as broadcast_at, 'e'::"char" as kind
from reached
union all
select d.id, d.xid::text::bigint, d.channel, d.payload, d.trace, d.broadcast_at, d.kind
from reached cross join lateral flowcraft.difference($2::text::xid8, $3::text[]::xid8[], $5::text[], $6::bigint) as d
where $1::text = pg_catalog.format('%s/%s.%s', reached.system, reached.timeline, reached.generation) and $4::text::xid8 >= reached.floor
order by id

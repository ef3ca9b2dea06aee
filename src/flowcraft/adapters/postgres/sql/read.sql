-- read: one row with the position (id 0: its snapshot, and the rest as JSON), then the events that became visible.
--
-- Of the cursor: $1 its lineage, $2 and $3 the first and last transactions of the ranges that it has not seen, the last of which
-- has no end. $4 channels or null, $5 most rows or null, $6 most bytes of payload or null: with more, the first row alone. After
-- a cursor of another history, or from before the log begins, no events are looked up. Functions that take values of any type
-- are qualified: one of another role on the search_path that takes exactly these types would be called instead.
with reached as materialized (select * from flowcraft.reached()), found as materialized (
    select c.*
    from reached cross join lateral flowcraft.changes($2::text[]::xid8[], $3::text[]::xid8[], $4::text[], $5::bigint) as c
    where $1::text = pg_catalog.format('%s.%s/%s.%s', reached.system, reached.database, reached.timeline, reached.generation)
        and ($2::text[])[1]::xid8 >= reached.floor
), measured as materialized (
    select count(*) as events, coalesce(sum(octet_length(payload)), 0)::bigint as bytes from found
)
select 0::bigint as id, 0::bigint as xid, snapshot::text as channel, pg_catalog.json_build_object(
    'system', system, 'database', database, 'timeline', timeline, 'generation', generation, 'floor', floor::text::bigint,
    'newest', newest::text::bigint, 'mark', mark, 'at', at, 'events', events, 'bytes', bytes
)::text as payload, null as trace, null::bytea as broadcast_at, 'e'::"char" as kind
from reached, measured
union all
select f.id, f.xid::text::bigint, f.channel, f.payload, f.trace, pg_catalog.timestamptz_send(f.broadcast_at), f.kind
from found as f, measured as m
where ($5::bigint is null or m.events < $5) and ($6::bigint is null or m.bytes <= $6)
order by id

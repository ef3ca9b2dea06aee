-- measure: the first row of `read` for the same cursor ($1 to $3) and channels ($4), with at most $5 events counted.
select 0::bigint as id, 0::bigint as xid, snapshot::text as channel, pg_catalog.json_build_object(
    'system', system, 'database', database, 'timeline', timeline, 'generation', generation, 'floor', floor::text::bigint,
    'newest', newest::text::bigint, 'mark', mark, 'at', at, 'events', events, 'bytes', bytes
)::text as payload, $1::text as lineage
from flowcraft.reached(), flowcraft.measured($2::text[]::xid8[], $3::text[]::xid8[], $4::text[], $5::bigint)

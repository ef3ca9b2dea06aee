-- read_page: the events of `read` alone, in no order, at most $4 (null: all of them). To sort 200,000 takes PostgreSQL as long as to send them.
select c.id, c.xid::text::bigint as xid, c.channel, c.payload, c.trace, pg_catalog.timestamptz_send(c.broadcast_at) as broadcast_at, c.kind
from flowcraft.changes($1::text[]::xid8[], $2::text[]::xid8[], $3::text[], $4::bigint) as c

-- read_page: the events of `read` alone, at most $4 (null: all of them).
select c.id, c.xid::text::bigint as xid, c.channel, c.payload, c.trace, c.broadcast_at, c.kind
from flowcraft.changes($1::text[]::xid8[], $2::text[]::xid8[], $3::text[], $4::bigint) as c
order by c.id

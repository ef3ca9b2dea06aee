-- lookup_events: the event with id $1, or else those of transaction $2.
select id, xid::text::bigint as xid, channel, octet_length(payload) as bytes
from flowcraft.event
where ($1::bigint is null or id = $1) and ($2::text is null or xid = $2::xid8)
order by id
limit 100

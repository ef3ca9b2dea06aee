-- read_page_bytes: the rows of `read_page` with every text as the bytes that are stored; see read_bytes.
select id, xid, replace(channel, chr(92), repeat(chr(92), 2))::bytea as channel,
    replace(payload, chr(92), repeat(chr(92), 2))::bytea as payload,
    replace(trace, chr(92), repeat(chr(92), 2))::bytea as trace, broadcast_at, kind
from (
\ir read_page.sql
) as texts
order by id

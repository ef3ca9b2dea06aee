-- read_bytes: the rows of `read` with every text as the bytes that are stored, for when one of the texts does not decode.
--
-- Not by convert_to, which refuses these texts. chr(92) is the backslash, under every setting of the session.
select id, xid, replace(channel, chr(92), repeat(chr(92), 2))::bytea as channel,
    replace(payload, chr(92), repeat(chr(92), 2))::bytea as payload,
    replace(trace, chr(92), repeat(chr(92), 2))::bytea as trace, broadcast_at, kind
from (
\ir read.sql
) as texts
order by id

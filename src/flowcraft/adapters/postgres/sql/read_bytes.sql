-- read_bytes: what `read` returns, with every text as the bytes that are stored: where one of them does not decode.
--
-- Not by convert_to: that refuses what is to be found here. chr(92) is the backslash, whatever the session's settings.
select id, xid, replace(channel, chr(92), repeat(chr(92), 2))::bytea as channel,
    replace(payload, chr(92), repeat(chr(92), 2))::bytea as payload,
    replace(trace, chr(92), repeat(chr(92), 2))::bytea as trace, null::timestamptz as stated_at
from (
\ir read.sql
) as texts
order by id

-- replay_bytes: the rows of `replay` with every text as the bytes that are stored; see read_bytes.
select id, xid, replace(channel, chr(92), repeat(chr(92), 2))::bytea as channel,
    replace(payload, chr(92), repeat(chr(92), 2))::bytea as payload,
    replace(trace, chr(92), repeat(chr(92), 2))::bytea as trace, total, kind
from (
\ir replay.sql
) as texts
order by id

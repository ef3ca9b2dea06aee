-- replay: of what `read` returns, in its order, $7 bytes of payload and the row that is one too many (null: all); of
-- each row the bytes before it.
select id, xid, channel, payload, before
from (
    select *, coalesce(sum(octet_length(payload)) filter (where id > 0) over (order by id), 0)
        - octet_length(payload) as before
    from (
\ir read.sql
    ) as everything
) as measured
where $7::bigint is null or before <= $7
order by id

-- replay: the rows of `read`, each with the bytes of payload of all; if these are more than $7 (null: no limit), the first
-- row alone.
select id, xid, channel, payload, trace, total, kind
from (
    select *, coalesce(sum(octet_length(payload)) filter (where id > 0) over (), 0)::bigint as total
    from (
\ir read.sql
    ) as everything
) as measured
where $7::bigint is null or total <= $7 or id = 0
order by id

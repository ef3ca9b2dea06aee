-- 0009: the rows of a channel and the cursor of their snapshot, for servers.
--
-- With separate roles (see 0006): grant execute on function flowcraft.rows to realtime.
\ir functions_rows.sql

-- 0013: a server that is far behind has its backlog counted where it is stored: a sixth of the time of a read.
--
-- With separate roles (see 0006): grant execute on function flowcraft.measured to realtime; roles that were granted
-- flowcraft.changes get it here.
\ir functions_backlog.sql

-- 0006: what the log needs on databases as people have them: transactions that are prepared, copies, hostile defaults.
--
-- With separate roles (see 0001; what was granted there stays, and servers of earlier versions need it):
--   the server: grant usage on schema flowcraft to realtime;
--               grant execute on function flowcraft.reached, flowcraft.changes, flowcraft.proofs, flowcraft.renew,
--                   flowcraft.wake, flowcraft.rotate, flowcraft.purges, flowcraft.broadcast_ephemeral, flowcraft.broadcast to realtime;
--   an operator: as in 0001.
create table flowcraft.kept (
    xid xid8 primary key,
    mark bigint not null
);
comment on table flowcraft.kept is
    'What flowcraft.mark was of transactions whose first event has been removed: by it a cursor proves which history it has seen.';

\ir functions_wakeup.sql
\ir functions_read.sql

-- 0002: what removes events from the log: the window that slides on, and the orders to remove some now.

create table flowcraft.slot (
    slot smallint primary key,
    opened_at timestamptz,
    settled_at timestamptz,
    newest xid8
);
comment on table flowcraft.slot is
    'What flowcraft.rotate remembers of each part of the log. '
    'opened_at: when events were first written to it; null if none are now. '
    'settled_at: since when all transactions that wrote to it, and all before the newest of these, have finished. '
    'newest: that transaction.';
insert into flowcraft.slot (slot, opened_at)
select s, case when s = 0 then clock_timestamp() end from generate_series(0, 3) as s;

create sequence flowcraft.event_purges;
comment on sequence flowcraft.event_purges is 'How often flowcraft.purge has removed events; see flowcraft.purges.';

\ir functions_retention.sql

-- 0001: the log, where it begins, and the functions that services and readers call.
--
-- Everything belongs to the role that migrates. With one role for all there is nothing to grant. With separate
-- roles (the schema is closed to public, and so is every function):
--   a service:  grant usage on schema flowcraft to app;
--               grant execute on function flowcraft.broadcast, flowcraft.broadcast_ephemeral, flowcraft.cursor to app;
--   the server: grant usage on schema flowcraft to realtime;
--               grant execute on function flowcraft.position, flowcraft.difference, flowcraft.renew,
--                   flowcraft.wake, flowcraft.rotate, flowcraft.purges, flowcraft.broadcast_ephemeral, flowcraft.broadcast to realtime;
--   an operator: the same grant on the schema, and flowcraft.purge.
-- A role that changes a table needs nothing: the triggers write with the owner's rights.

-- Both are sequences because they are read and set outside of transactions. A writer must not wait for the transaction
-- that opens the next slot; a reader whose snapshot is older than a removal must still see the removal, or it would find
-- no events and take that for the whole log.
create sequence flowcraft.event_slot as smallint minvalue 0 maxvalue 3;
comment on sequence flowcraft.event_slot is 'The slot that events are written to; see flowcraft.rotate.';
select setval('flowcraft.event_slot', 0);
create sequence flowcraft.event_floor minvalue 0;
comment on sequence flowcraft.event_floor is 'Events of transactions below it have been removed, or are about to be.';
-- Not this transaction's own id: an older one that still runs may yet write an event.
select setval('flowcraft.event_floor', pg_snapshot_xmin(pg_current_snapshot())::text::bigint);

create table flowcraft.event (
    id bigint generated always as identity,
    xid xid8 not null default pg_current_xact_id(),
    slot smallint not null default coalesce(pg_sequence_last_value('flowcraft.event_slot'), 0),
    channel text not null,
    payload text not null
) partition by list (slot);
comment on table flowcraft.event is 'The log: one row per committed event. Append only; read by difference of snapshots.';
-- These four are all: no table has to be created in time, and the last one takes every event that has no slot.
create table flowcraft.event_0 partition of flowcraft.event for values in (0);
create table flowcraft.event_1 partition of flowcraft.event for values in (1);
create table flowcraft.event_2 partition of flowcraft.event for values in (2);
create table flowcraft.event_3 partition of flowcraft.event default;
-- No primary key: no reader looks an event up by its id, and a third index would cost every writer.
create index event_xid on flowcraft.event (xid);
create index event_channel on flowcraft.event (channel, xid);

create table flowcraft.state (
    only_row boolean primary key default true check (only_row),
    system bigint not null,
    generation integer not null default 0
);
comment on table flowcraft.state is
    'system: identifier of the database system that issued the transaction ids in the log. '
    'generation: times the database was found behind what it had delivered.';
insert into flowcraft.state (system) select system_identifier from pg_control_system();

\ir functions_log.sql

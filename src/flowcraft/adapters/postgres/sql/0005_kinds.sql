-- 0005: what kind of record a row of the log is, and room for tags.
--
-- Constant defaults: no event that is there is written again.
alter table flowcraft.event add column kind "char" not null default 'e', add column tags text[];
comment on column flowcraft.event.kind is
    'e: an event. g: the row with the key in payload has left the channel. r: the state of the channel must be read again. '
    's: an event that could not be made, with the reason in payload. w: a withdrawal. A record for all channels of a family is '
    'on the channel <prefix>.*, one for all channels on the channel *; no client can subscribe to these.';
comment on column flowcraft.event.tags is 'Reserved for filters.';
-- A trace of any size would be written with each event: 128 bytes are twice a W3C traceparent.
alter table flowcraft.event alter column trace set default
    case when octet_length(current_setting('flowcraft.traceparent', true)) <= 128 then current_setting('flowcraft.traceparent', true) end;
-- A publication for all tables refuses a DELETE from a table that has no key and no such identity.
alter table flowcraft.event replica identity full;
alter table flowcraft.event_0 replica identity full;
alter table flowcraft.event_1 replica identity full;
alter table flowcraft.event_2 replica identity full;
alter table flowcraft.event_3 replica identity full;

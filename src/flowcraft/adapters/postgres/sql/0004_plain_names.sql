-- 0004: take over a log that a development version migrated: its functions and columns get their present names.
--
-- Such a log is one whose migrations have no hash; on every other there is nothing to do. `verify` has run before. A
-- function that is renamed and replaced keeps its grants, and the views and defaults that call it.
do $flowcraft_plain_names$
declare
    renamed record;
begin
    if not exists (select from flowcraft.migration where hash is null) then
        return;
    end if;
    for renamed in
        select * from (values ('emit(text, json)', 'broadcast'), ('announce(text, json)', 'broadcast_ephemeral'), ('ring()', 'wake'))
            as f(old, new)
        where to_regprocedure('flowcraft.' || old) is not null
    loop
        execute format('alter function flowcraft.%s rename to %I', renamed.old, renamed.new);
    end loop;
    if exists (
        select from pg_attribute where attrelid = 'flowcraft.event'::regclass and attname = 'stated_at' and not attisdropped
    ) then
        alter table flowcraft.event rename column stated_at to broadcast_at;
    end if;
    comment on column flowcraft.event.broadcast_at is
        'When the statement began that broadcast the event: not after its commit. Null: before this column was there.';
    comment on column flowcraft.event.trace is
        'W3C traceparent of the service that broadcast the event, from the setting flowcraft.traceparent of the transaction; else null or empty.';
    -- The first versions that had 0002 did not count purges.
    create sequence if not exists flowcraft.event_purges;
    comment on sequence flowcraft.event_purges is 'How often flowcraft.purge has removed events; see flowcraft.purges.';
    execute $flowcraft_functions$
\ir functions_log.sql
\ir functions_retention.sql
    $flowcraft_functions$;
end $flowcraft_plain_names$;

\ir old_triggers.sql

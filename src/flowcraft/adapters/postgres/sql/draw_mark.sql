-- draw_mark: a transaction id greater than that of every transaction that has written so far.
select pg_catalog.pg_current_xact_id()::text::bigint

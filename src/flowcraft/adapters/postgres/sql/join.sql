-- join: take the readers lock for as long as this session lasts, by which writers find that there are readers; false if another
-- session has it for itself: a writer for microseconds, or a session that is none of ours.
select pg_catalog.pg_try_advisory_lock_shared(:lock_class, :readers_lock)

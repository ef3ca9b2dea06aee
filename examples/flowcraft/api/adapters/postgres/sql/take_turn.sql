-- One measures at a time, over all processes.
select pg_try_advisory_xact_lock(hashtext('flowcraft.example.dashboard'))

-- Extend a lease that this worker still holds, even one that has expired, if no other worker has claimed the run.
update leases set until = clock_timestamp() + make_interval(secs => $3)
where run_id = $1 and worker = $2
returning run_id

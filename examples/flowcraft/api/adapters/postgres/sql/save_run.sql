-- What can change in a run; a trigger counts its version.
update runs
set status = $2, progress = $3, attempt = $4, current_step = $5, cancel_requested = $6, error = $7,
    started_at = $8, finished_at = $9, retry_at = $10
where id = $1

-- What can change in a step; a trigger counts its version.
update steps
set status = $3, progress = $4, attempt = $5, error = $6, started_at = $7, finished_at = $8
where run_id = $1 and position = $2

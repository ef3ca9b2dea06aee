-- The next line in the log of a run whose row is locked: no gap, no number twice.
insert into log_lines as l (run_id, number, level, position, text)
select $1, coalesce(max(number), 0) + 1, $2, $3, $4 from log_lines where run_id = $1
returning to_json(l)

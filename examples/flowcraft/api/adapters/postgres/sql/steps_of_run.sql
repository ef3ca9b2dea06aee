-- The steps of a run, by position.
select coalesce(json_agg(s order by s.position), '[]') from step_states s where run_id = $1

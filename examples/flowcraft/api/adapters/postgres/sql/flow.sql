-- A flow; it cannot be paused while a run of it is being queued.
select to_json(f) from flow_states f where flow_id = $1 for share

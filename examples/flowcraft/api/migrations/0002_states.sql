-- Rows under the names that the events give to their fields, so that state and stream look the same.

create view flow_states as
    select id as flow_id, name, description, steps, paused from flows;

create view run_states as
    select id as run_id, number, flow_id, flow_name, status, progress, attempt, current_step, cancel_requested,
           triggered_by, error, created_at, started_at, finished_at, retry_at, version
    from runs;

create view step_states as
    select run_id, position, name, status, progress, attempt, max_attempts, error, started_at, finished_at, version
    from steps;

create view announcement_states as
    select id as announcement_id, text, level, at from announcements;

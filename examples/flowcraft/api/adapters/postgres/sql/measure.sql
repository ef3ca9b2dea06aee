-- The figures of all runs as they are committed now.
select json_build_object(
    'at', clock_timestamp(),
    'queued', count(*) filter (where status = 'queued'),
    'running', count(*) filter (where status = 'running'),
    'succeeded', count(*) filter (where status = 'succeeded'),
    'failed', count(*) filter (where status = 'failed'),
    'cancelled', count(*) filter (where status = 'cancelled'),
    'runs_per_minute', count(*) filter (where finished_at > now() - interval '1 minute'),
    'success_rate', round(avg(case status when 'succeeded' then 1 when 'failed' then 0 end)
                          filter (where finished_at > now() - interval '5 minutes'), 4),
    'mean_seconds', round(extract(epoch from avg(finished_at - started_at)
                          filter (where finished_at > now() - interval '5 minutes')), 2))
from runs

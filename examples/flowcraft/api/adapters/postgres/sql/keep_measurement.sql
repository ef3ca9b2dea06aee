-- Add a measurement, and forget those that no page shows any more.
with forgotten as (delete from measurements where at < $1::timestamptz - interval '30 minutes')
insert into measurements (at, queued, running, succeeded, failed, cancelled, runs_per_minute, success_rate, mean_seconds)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)

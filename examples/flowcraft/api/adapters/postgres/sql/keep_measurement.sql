-- Add a measurement, and forget all but the newest: the pages show the table. Both parts see it as it was before.
with forgotten as (
    delete from measurements where at in (select at from measurements order by at desc offset $10 - 1)
)
insert into measurements (at, queued, running, succeeded, failed, cancelled, runs_per_minute, success_rate, mean_seconds)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- Lock the oldest run that is due or whose lease has run out, passing over those that other workers are claiming.
select id from runs r
where (status = 'queued' and coalesce(retry_at, '-infinity') <= now())
   or (status = 'running' and not exists (select from leases l where l.run_id = r.id and l.until > now()))
order by number
limit 1
for no key update skip locked

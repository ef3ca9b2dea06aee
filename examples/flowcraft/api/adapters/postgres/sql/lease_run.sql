-- Lease a run that `claim_run` has locked, unless it is leased. Why check again: when `claim_run` did not wait
-- but found the row changed since its snapshot, it checked the row again, though not the leases.
insert into leases as l (run_id, worker, until)
values ($1, $2, clock_timestamp() + make_interval(secs => $3))
on conflict (run_id) do update set worker = excluded.worker, until = excluded.until
where l.until <= now()
returning run_id

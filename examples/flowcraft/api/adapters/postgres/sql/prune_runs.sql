-- Forget finished runs beyond the newest so many.
delete from runs
where id in (select id from runs
             where status in ('succeeded', 'failed', 'cancelled')
             order by number desc offset $1 for update skip locked)

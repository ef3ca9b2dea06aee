-- How many runs wait or are being worked on.
select count(*) from runs where status in ('queued', 'running')

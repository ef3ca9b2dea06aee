-- One run, the end of its log, and the cursor of the same moment: one statement, one snapshot.
select flowcraft.cursor() as cursor,
       (select json_build_object(
            'run', r,
            'log', coalesce((select json_agg(l order by l.number)
                             from (select * from log_lines where run_id = $1 order by number desc limit 1000) l), '[]'))
        from run_states r where r.run_id = $1) as data

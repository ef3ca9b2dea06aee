-- One run, its steps, the end of its log, and the cursor of the same moment.
select flowcraft.cursor() as cursor,
       (select json_build_object(
            'run', r,
            'steps', coalesce((select json_agg(s order by s.position) from step_states s where s.run_id = $1), '[]'),
            'log', coalesce((select json_agg(l order by l.number)
                             from (select * from log_lines where run_id = $1 order by number desc limit 1000) l), '[]'))
        from run_states r where r.run_id = $1) as data

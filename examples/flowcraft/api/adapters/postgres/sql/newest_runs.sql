-- The newest runs and the cursor of the same moment: one statement, one snapshot.
select flowcraft.cursor() as cursor,
       coalesce((select json_agg(r order by r.number desc)
                 from (select * from run_states order by number desc limit $1) r), '[]') as data

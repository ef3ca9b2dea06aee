-- The last measurements and the cursor of the same moment.
select flowcraft.cursor() as cursor,
       coalesce((select json_agg(m order by m.at)
                 from (select * from measurements order by at desc limit $1) m), '[]') as data

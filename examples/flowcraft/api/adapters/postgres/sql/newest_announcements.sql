-- The newest announcements and the cursor of the same moment.
select flowcraft.cursor() as cursor,
       coalesce((select json_agg(a order by a.at desc)
                 from (select * from announcement_states order by at desc limit $1) a), '[]') as data

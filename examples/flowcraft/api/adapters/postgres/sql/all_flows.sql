-- All flows and the cursor of the same moment.
select flowcraft.cursor() as cursor,
       coalesce((select json_agg(f order by f.name) from flow_states f), '[]') as data

-- A queued run and its pending steps.
with run as (
    insert into runs (flow_id, flow_name, triggered_by) values ($1, $2, $3) returning id
), planned as (
    insert into steps (run_id, position, name)
    select run.id, planned.position, planned.name
    from run, unnest($4::text[]) with ordinality planned (name, position)
)
select id from run

-- The measurement that the pages show now.
select to_json(m) from measurements m order by at desc limit 1

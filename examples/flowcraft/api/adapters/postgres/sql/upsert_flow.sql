-- A flow of the catalogue, added or brought up to date; whether it is paused is left to people.
insert into flows as f (id, name, description, steps) values ($1, $2, $3, $4)
on conflict (id) do update set name = excluded.name, description = excluded.description, steps = excluded.steps
where (f.name, f.description, f.steps) is distinct from (excluded.name, excluded.description, excluded.steps)

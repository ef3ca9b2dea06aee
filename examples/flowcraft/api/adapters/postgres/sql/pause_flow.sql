-- Pause a flow or resume it.
update flows set paused = $2 where id = $1 returning id

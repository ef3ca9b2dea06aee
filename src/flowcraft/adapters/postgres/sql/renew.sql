-- renew: begin a new generation, unless another server did since generation $1.
select flowcraft.renew($1::integer)

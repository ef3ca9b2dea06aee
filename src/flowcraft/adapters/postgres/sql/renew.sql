-- renew: begin a new generation, unless somebody did since generation $1.
select flowcraft.renew($1::integer)

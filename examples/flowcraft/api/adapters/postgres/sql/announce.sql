-- Keep an announcement.
with announced as (insert into announcements (text, level) values ($1, $2) returning id, text, level, at)
select json_build_object('announcement_id', id, 'text', text, 'level', level, 'at', at) from announced

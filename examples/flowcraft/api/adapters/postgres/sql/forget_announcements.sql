-- Delete all but the newest announcements: the pages show the table.
delete from announcements where id in (select id from announcements order by at desc offset $1)

-- 0012: a channel with many members has a count in the place of their list.
--
-- With separate roles (see 0011): `attend` has another parameter and is created again, so it gets the grants of flowcraft.changes once more.
create table flowcraft.member_count (
    channel text collate "C" primary key,
    listed bigint not null,
    members bigint not null,
    sent bigint not null,
    sent_at timestamptz not null
);
comment on table flowcraft.member_count is
    'The channels whose members are counted and not listed, since there were more than `listed`. sent: the count that subscribers have.';
drop function flowcraft.attend(text, boolean, text[], text[], text[]);

\ir functions_members.sql

-- 0008: no other role can make an ephemeral event, or send one again.
--
-- With separate roles (see 0006), the server also needs: grant execute on function flowcraft.ephemeral_key to realtime;
-- roles that were granted flowcraft.changes get it here.
create table flowcraft.ephemeral_key (
    only_row boolean primary key default true check (only_row),
    -- Random: 122 bits of each uuid.
    inner_key bytea not null default sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
        || sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
    outer_key bytea not null default sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
        || sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
);
comment on table flowcraft.ephemeral_key is
    'The keys of the check value that ephemeral events travel with: any role can NOTIFY. Two blocks of SHA-256, as in HMAC.';
insert into flowcraft.ephemeral_key default values;
create sequence flowcraft.ephemeral_number;
comment on sequence flowcraft.ephemeral_number is 'The number of each ephemeral event: a server delivers none a second time.';

\ir functions_ephemeral.sql

do $flowcraft_ephemeral$
declare
    reader name;
begin
    for reader in
        select r.rolname from pg_proc as p cross join lateral aclexplode(p.proacl) as g join pg_roles as r on r.oid = g.grantee
        where p.pronamespace = 'flowcraft'::regnamespace and p.proname = 'changes' and g.privilege_type = 'EXECUTE' and g.grantee <> p.proowner
    loop
        execute format('grant execute on function flowcraft.ephemeral_key() to %I', reader);
    end loop;
end $flowcraft_ephemeral$;

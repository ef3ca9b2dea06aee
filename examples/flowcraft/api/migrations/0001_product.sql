-- The tables of the workflow product. Nothing here knows about realtime: its triggers are generated from the channels.

create table flows (
    id          text primary key,
    name        text not null,
    description text not null,
    steps       text[] not null check (cardinality(steps) > 0),
    paused      boolean not null default false
);

create table runs (
    id               uuid primary key default gen_random_uuid(),
    number           bigint generated always as identity unique,
    flow_id          text not null references flows,
    flow_name        text not null, -- as it was called when the run began
    status           text not null default 'queued'
                     check (status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    progress         integer not null default 0 check (progress between 0 and 100),
    attempt          integer not null default 1,
    current_step     text,
    cancel_requested boolean not null default false,
    triggered_by     text not null check (triggered_by in ('person', 'schedule')),
    error            text,
    created_at       timestamptz not null default clock_timestamp(),
    started_at       timestamptz,
    finished_at      timestamptz,
    retry_at         timestamptz,
    version          integer not null default 1
);
create index runs_unfinished on runs (number) where status in ('queued', 'running');
create index runs_finished on runs (finished_at);

create table steps (
    run_id       uuid not null references runs on delete cascade,
    position     integer not null,
    name         text not null,
    status       text not null default 'pending'
                 check (status in ('pending', 'running', 'retrying', 'succeeded', 'failed', 'cancelled')),
    progress     integer not null default 0 check (progress between 0 and 100),
    attempt      integer not null default 0,
    max_attempts integer not null default 3,
    error        text,
    started_at   timestamptz,
    finished_at  timestamptz,
    version      integer not null default 1,
    primary key (run_id, position)
);

create table log_lines (
    run_id   uuid not null references runs on delete cascade,
    number   integer not null,
    at       timestamptz not null default clock_timestamp(),
    level    text not null check (level in ('info', 'warning', 'error')),
    position integer,
    text     text not null,
    primary key (run_id, number)
);

-- Not columns of runs: a worker renews its lease every second, and that is no news to anybody who watches the run.
create table leases (
    run_id uuid primary key references runs on delete cascade,
    worker text not null,
    until  timestamptz not null
);

create table measurements (
    at              timestamptz primary key,
    queued          integer not null,
    running         integer not null,
    succeeded       integer not null,
    failed          integer not null,
    cancelled       integer not null,
    runs_per_minute integer not null,
    success_rate    double precision,
    mean_seconds    double precision
);

create table announcements (
    id    uuid primary key default gen_random_uuid(),
    text  text not null,
    level text not null check (level in ('info', 'warning', 'critical')),
    at    timestamptz not null default clock_timestamp()
);
create index announcements_newest on announcements (at);

-- Each update of a row counts, whoever makes it: a page that has seen every version has lost nothing.
create function count_version() returns trigger language plpgsql as $$
begin
    new.version := old.version + 1;
    return new;
end
$$;
create trigger count_version before update on runs for each row execute function count_version();
create trigger count_version before update on steps for each row execute function count_version();

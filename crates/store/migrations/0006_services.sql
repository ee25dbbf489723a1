create table services (
    soft_limit bigint not null,
    hard_limit bigint not null,
    autokill_milliseconds bigint,
    created_at bigint not null,
    persistent boolean not null,
    id bytea not null primary key,
    account_id bytea not null references accounts (id),
    name text not null,
    ports text not null
);

create unique index services_name on services (name, account_id);

create index services_account on services (account_id, created_at, id);

create index services_created on services (created_at, id);

create table instances (
    memory_mb bigint,
    created_at bigint not null,
    id bytea not null primary key,
    account_id bytea not null references accounts (id),
    service_id bytea references services (id),
    name text not null,
    image text not null,
    args text not null,
    env text not null,
    address text
);

create unique index instances_name on instances (name, account_id);

create index instances_account on instances (account_id, created_at, id);

create index instances_created on instances (created_at, id);

create index instances_service on instances (service_id, created_at, id)
    where service_id is not null;

create table accounts (
    id bytea not null primary key,
    name text not null,
    role text not null,
    disabled boolean not null,
    locked boolean not null,
    no_login boolean not null,
    created_at bigint not null
);

create unique index accounts_name on accounts (name);

create table tokens (
    id bytea not null primary key,
    account_id bytea not null references accounts (id) on delete cascade,
    name text not null,
    hash bytea not null,
    read_only boolean not null,
    dialects text,
    scopes text,
    expires_at bigint,
    created_at bigint not null
);

create unique index tokens_hash on tokens (hash);

create index tokens_account on tokens (account_id, id);

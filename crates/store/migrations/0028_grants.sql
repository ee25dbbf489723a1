create table registered_clients (
    created_at bigint not null,
    name text not null primary key,
    redirects text not null,
    secret_hash bytea
);

-- A grant that was redeemed names the token that came of it.
create table grants (
    expires_at bigint not null,
    token_expires_at bigint,
    hash bytea not null primary key,
    account_id bytea not null references accounts (id) on delete cascade,
    token_id bytea,
    client text not null,
    redirect text not null,
    scopes text not null,
    challenge text
);

create index grants_account on grants (account_id);

create index grants_expires_at on grants (expires_at);

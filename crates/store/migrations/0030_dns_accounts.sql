create table dns_accounts (
    created_at bigint not null,
    trusted boolean not null,
    id bytea not null primary key,
    account_id bytea not null references accounts (id) on delete cascade,
    name text not null,
    kind text not null,
    credentials bytea not null
);

create unique index dns_accounts_name on dns_accounts (account_id, kind, name);

-- The DNS account that a provider was made of, for the zone of a name that had to be proven.
alter table dns_providers add column dns_account_id bytea;

create index dns_providers_dns_account on dns_providers (dns_account_id)
    where dns_account_id is not null;

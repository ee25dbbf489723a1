create table dns_providers (
    created_at bigint not null,
    trusted boolean not null,
    id bytea not null primary key,
    account_id bytea references accounts (id) on delete cascade,
    zone text not null,
    kind text not null,
    credentials bytea not null
);

create unique index dns_providers_zone on dns_providers (account_id, zone)
    where account_id is not null;

create unique index dns_providers_shared_zone on dns_providers (zone)
    where account_id is null;

-- The next action is the withdrawal of the record, or else forgetting the challenge.
create table challenges (
    next_action_at bigint not null,
    expires_at bigint not null,
    created_at bigint not null,
    id bytea not null primary key,
    certificate_id bytea not null,
    account_id bytea not null,
    name text not null,
    kind text not null,
    state text not null,
    token text not null,
    key_authorization text not null,
    provider_id bytea,
    record_zone text,
    record_name text,
    record_value text
);

create index challenges_certificate on challenges (certificate_id, id);

create index challenges_name on challenges (name, kind, id);

create index challenges_next_action on challenges (next_action_at);

create table certificates (
    created_at bigint not null,
    attempt bigint not null,
    not_after bigint,
    next_action_at bigint,
    id bytea not null primary key,
    account_id bytea not null references accounts (id),
    current_version_id bytea,
    name text not null,
    common_name text not null,
    identifiers text not null,
    origin text not null,
    state text not null,
    reason text,
    issuer text
);

create unique index certificates_name on certificates (name, account_id);

-- Lists that are filtered by the end of validity walk this index and the next without touching rows.
create index certificates_account on certificates (account_id, created_at, id, not_after);

create index certificates_created on certificates (created_at, id, not_after);

create index certificates_common_name on certificates (common_name, account_id, created_at, id);

create index certificates_state on certificates (account_id, state, created_at, id);

create index certificates_state_of_all on certificates (state, created_at, id)
    where state <> 'valid';

create index certificates_not_after on certificates (account_id, not_after);

create index certificates_next_action on certificates (next_action_at)
    where next_action_at is not null;

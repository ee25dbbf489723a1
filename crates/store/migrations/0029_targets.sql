create table targets (
    created_at bigint not null,
    seen_at bigint,
    everything boolean not null,
    id bytea not null primary key,
    account_id bytea not null references accounts (id) on delete cascade,
    name text not null,
    services text not null
);

create unique index targets_name on targets (account_id, name);

-- A placement may outlive its certificate: the target has yet to take the files away.
create table placements (
    updated_at bigint not null,
    target_id bytea not null references targets (id) on delete cascade,
    certificate_id bytea not null,
    version_id bytea,
    refused_version_id bytea,
    reason text,
    name text not null,
    primary key (target_id, certificate_id)
);

create index placements_certificate on placements (certificate_id, target_id);

create table versions (
    serial_low bigint,
    not_before bigint not null,
    not_after bigint not null,
    revoked_at bigint,
    revocation_reason bigint,
    created_at bigint not null,
    id bytea not null primary key,
    certificate_id bytea not null,
    account_id bytea not null,
    authority_id bytea,
    private_key_id bytea,
    serial bytea not null,
    subject text not null,
    issuer text not null,
    leaf bytea not null,
    intermediates bytea not null
);

create index versions_certificate on versions (certificate_id, id);

create unique index versions_serial_low on versions (serial_low)
    where serial_low is not null;

create index versions_revoked
    on versions (authority_id, id, not_after, revoked_at, revocation_reason, serial)
    where revoked_at is not null;

create table private_keys (
    exportable_until bigint,
    created_at bigint not null,
    exportable boolean not null,
    id bytea not null primary key,
    account_id bytea,
    fingerprint bytea not null,
    algorithm text not null,
    sealed bytea not null
);

create index private_keys_exportable_until on private_keys (exportable_until)
    where exportable_until is not null;

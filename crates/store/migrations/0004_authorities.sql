create table authorities (
    id bytea not null primary key,
    name text not null,
    revocations bigint not null,
    created_at bigint not null
);

create unique index authorities_name on authorities (name);

create table ca_certificates (
    id bytea not null primary key,
    authority_id bytea not null references authorities (id),
    role text not null,
    private_key_id bytea not null,
    not_before bigint not null,
    not_after bigint not null,
    crl_number bigint not null,
    certificate bytea not null
);

create index ca_certificates_authority on ca_certificates (authority_id, id);

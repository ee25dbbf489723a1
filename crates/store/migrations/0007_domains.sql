-- The names are walked through, and compared with others, in the order of their bytes.
create table domains (
    position bigint not null,
    created_at bigint not null,
    explicit boolean not null,
    name text {bytewise} not null primary key,
    parent text {bytewise} not null,
    service_id bytea not null references services (id) on delete cascade,
    account_id bytea not null,
    certificate_id bytea references certificates (id),
    alternate_id bytea references certificates (id) on delete set null
);

create index domains_service on domains (service_id, position);

create index domains_parent on domains (account_id, parent, name);

create index domains_certificate on domains (certificate_id, service_id, name)
    where certificate_id is not null;

create index domains_alternate on domains (alternate_id, service_id, name)
    where alternate_id is not null;

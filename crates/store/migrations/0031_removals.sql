-- What is shown of a certificate that was taken off a service while targets still have its files.
create table removals (
    removed_at bigint not null,
    service_id bytea not null references services (id) on delete cascade,
    certificate_id bytea not null,
    account_id bytea not null,
    shown text not null,
    primary key (service_id, certificate_id)
);

create index removals_certificate on removals (certificate_id);

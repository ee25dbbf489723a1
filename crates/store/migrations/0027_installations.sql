alter table services add column environment text not null default 'production';

-- What is said of a certificate on a service beside what the certificate says itself.
create table installations (
    created_at bigint not null,
    updated_at bigint not null,
    ssl_termination boolean not null,
    wildcard boolean not null,
    service_id bytea not null references services (id) on delete cascade,
    certificate_id bytea not null references certificates (id) on delete cascade,
    account_id bytea not null,
    dns_provider_id bytea,
    server_names text not null,
    domains text not null,
    primary key (service_id, certificate_id)
);

create index installations_certificate on installations (certificate_id);

create index installations_dns_provider on installations (dns_provider_id)
    where dns_provider_id is not null;

-- The parts into which the revocation list of an authority is divided.
create table crl_shards (
    authority_id bytea not null references authorities (id),
    shard bigint not null,
    places bigint not null,
    revocations bigint not null,
    crl_number bigint not null,
    primary key (authority_id, shard)
);

insert into crl_shards (authority_id, shard, places, revocations, crl_number)
select a.id, 0,
    (select count(*) from versions v where v.authority_id = a.id),
    a.revocations, 0
from authorities a;

alter table authorities drop column revocations;

alter table versions add column crl_shard bigint not null default 0;

drop index versions_revoked;

create index versions_revoked
    on versions (authority_id, crl_shard, id, not_after, revoked_at, revocation_reason, serial)
    where revoked_at is not null;

-- How many responders a CA has certified: of nodes that are about to do so, one does.
alter table ca_certificates add column responders bigint not null default 0;

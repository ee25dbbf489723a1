-- A list holds what was signed in the name of its issuer.
drop index versions_revoked;

create index versions_revoked on versions
    (authority_id, crl_shard, id, not_after, revoked_at, revocation_reason, serial, issuer)
    where revoked_at is not null;

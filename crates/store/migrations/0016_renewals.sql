alter table certificates add column renew_at bigint;

update certificates set renew_at = next_action_at
where state = 'valid' and next_action_at is not null;

alter table versions add column directory_id bytea;

create index certificates_ending on certificates (not_after, id)
    where not_after is not null;

-- What is due of some issuers only is found without touching the rows of others.
drop index certificates_next_action;

create index certificates_next_action on certificates (next_action_at, issuer)
    where next_action_at is not null;

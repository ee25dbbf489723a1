-- Several DNS accounts may have the same zone, each for the certificates that name it.
drop index dns_providers_zone;

create unique index dns_providers_zone on dns_providers (account_id, zone)
    where account_id is not null and dns_account_id is null;

create unique index dns_providers_made on dns_providers (account_id, zone, dns_account_id)
    where account_id is not null;

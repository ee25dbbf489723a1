insert into certificate_names (name, account_id, certificate_id)
select distinct part.name, certificates.account_id, certificates.id
from certificates, unnest(string_to_array(certificates.identifiers, E'\n')) as part (name)
where certificates.identifiers <> certificates.common_name
    and part.name <> certificates.common_name
    and length(part.name) <= 253
    and part.name ~ '[^0-9.]'
    and part.name !~ '[^a-zA-Z0-9._*-]';

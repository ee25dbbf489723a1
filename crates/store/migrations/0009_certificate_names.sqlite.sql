insert into certificate_names (name, account_id, certificate_id)
with recursive parts (certificate_id, account_id, common_name, name, rest) as (
    select id, account_id, common_name, '', identifiers || char(10)
    from certificates
    where identifiers <> common_name
    union all
    select certificate_id, account_id, common_name,
        substr(rest, 1, instr(rest, char(10)) - 1), substr(rest, instr(rest, char(10)) + 1)
    from parts
    where rest <> ''
)
select distinct name, account_id, certificate_id
from parts
where name <> common_name
    and length(name) <= 253
    and name glob '*[^0-9.]*'
    and not name glob '*[^a-zA-Z0-9._*-]*';

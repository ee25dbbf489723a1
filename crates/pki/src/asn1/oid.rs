//! Object identifiers in use, named as their defining documents name them.

use super::ObjectIdentifier;

const fn oid(text: &'static str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

// Attribute types (RFC 4519, RFC 5280 appendix A, PKCS #9).
pub(crate) const COMMON_NAME: ObjectIdentifier = oid("2.5.4.3");
pub(crate) const SURNAME: ObjectIdentifier = oid("2.5.4.4");
pub(crate) const SERIAL_NUMBER: ObjectIdentifier = oid("2.5.4.5");
pub(crate) const COUNTRY: ObjectIdentifier = oid("2.5.4.6");
pub(crate) const LOCALITY: ObjectIdentifier = oid("2.5.4.7");
pub(crate) const STATE_OR_PROVINCE: ObjectIdentifier = oid("2.5.4.8");
pub(crate) const STREET_ADDRESS: ObjectIdentifier = oid("2.5.4.9");
pub(crate) const ORGANIZATION: ObjectIdentifier = oid("2.5.4.10");
pub(crate) const ORGANIZATIONAL_UNIT: ObjectIdentifier = oid("2.5.4.11");
pub(crate) const TITLE: ObjectIdentifier = oid("2.5.4.12");
pub(crate) const BUSINESS_CATEGORY: ObjectIdentifier = oid("2.5.4.15");
pub(crate) const POSTAL_CODE: ObjectIdentifier = oid("2.5.4.17");
pub(crate) const NAME: ObjectIdentifier = oid("2.5.4.41");
pub(crate) const GIVEN_NAME: ObjectIdentifier = oid("2.5.4.42");
pub(crate) const INITIALS: ObjectIdentifier = oid("2.5.4.43");
pub(crate) const GENERATION_QUALIFIER: ObjectIdentifier = oid("2.5.4.44");
pub(crate) const DN_QUALIFIER: ObjectIdentifier = oid("2.5.4.46");
pub(crate) const PSEUDONYM: ObjectIdentifier = oid("2.5.4.65");
pub(crate) const ORGANIZATION_IDENTIFIER: ObjectIdentifier = oid("2.5.4.97");
pub(crate) const USER_ID: ObjectIdentifier = oid("0.9.2342.19200300.100.1.1");
pub(crate) const DOMAIN_COMPONENT: ObjectIdentifier = oid("0.9.2342.19200300.100.1.25");
pub(crate) const EMAIL_ADDRESS: ObjectIdentifier = oid("1.2.840.113549.1.9.1");

// Keys (RFC 3279, RFC 5480, RFC 8410).
pub(crate) const RSA_ENCRYPTION: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
pub(crate) const RSASSA_PSS: ObjectIdentifier = oid("1.2.840.113549.1.1.10");
pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier = oid("1.2.840.10045.2.1");
pub(crate) const SECP256R1: ObjectIdentifier = oid("1.2.840.10045.3.1.7");
pub(crate) const SECP384R1: ObjectIdentifier = oid("1.3.132.0.34");
pub(crate) const SECP521R1: ObjectIdentifier = oid("1.3.132.0.35");
pub(crate) const ED25519: ObjectIdentifier = oid("1.3.101.112");

// Signatures (RFC 4055, RFC 5758, RFC 8410).
pub(crate) const SHA256_WITH_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.11");
pub(crate) const SHA384_WITH_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.12");
pub(crate) const SHA512_WITH_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.13");
pub(crate) const ECDSA_WITH_SHA256: ObjectIdentifier = oid("1.2.840.10045.4.3.2");
pub(crate) const ECDSA_WITH_SHA384: ObjectIdentifier = oid("1.2.840.10045.4.3.3");
pub(crate) const ECDSA_WITH_SHA512: ObjectIdentifier = oid("1.2.840.10045.4.3.4");
pub(crate) const MGF1: ObjectIdentifier = oid("1.2.840.113549.1.1.8");

// Digests (RFC 3279, RFC 5754).
pub(crate) const SHA1: ObjectIdentifier = oid("1.3.14.3.2.26");
pub(crate) const SHA256: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.1");
pub(crate) const SHA384: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.2");
pub(crate) const SHA512: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.3");

// Extensions of certificates, CRLs and CRL entries (RFC 5280 4.2 and 5).
pub(crate) const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = oid("2.5.29.14");
pub(crate) const KEY_USAGE: ObjectIdentifier = oid("2.5.29.15");
pub(crate) const SUBJECT_ALT_NAME: ObjectIdentifier = oid("2.5.29.17");
pub(crate) const BASIC_CONSTRAINTS: ObjectIdentifier = oid("2.5.29.19");
pub(crate) const CRL_NUMBER: ObjectIdentifier = oid("2.5.29.20");
pub(crate) const REASON_CODE: ObjectIdentifier = oid("2.5.29.21");
pub(crate) const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = oid("2.5.29.28");
pub(crate) const NAME_CONSTRAINTS: ObjectIdentifier = oid("2.5.29.30");
pub(crate) const CRL_DISTRIBUTION_POINTS: ObjectIdentifier = oid("2.5.29.31");
pub(crate) const AUTHORITY_KEY_IDENTIFIER: ObjectIdentifier = oid("2.5.29.35");
pub(crate) const EXTENDED_KEY_USAGE: ObjectIdentifier = oid("2.5.29.37");
pub(crate) const AUTHORITY_INFO_ACCESS: ObjectIdentifier = oid("1.3.6.1.5.5.7.1.1");
pub(crate) const ACME_IDENTIFIER: ObjectIdentifier = oid("1.3.6.1.5.5.7.1.31");

// Access methods and key purposes (RFC 5280 4.2.1.12 and 4.2.2.1).
pub(crate) const ACCESS_OCSP: ObjectIdentifier = oid("1.3.6.1.5.5.7.48.1");
pub(crate) const ACCESS_CA_ISSUERS: ObjectIdentifier = oid("1.3.6.1.5.5.7.48.2");
pub(crate) const PURPOSE_SERVER_AUTH: ObjectIdentifier = oid("1.3.6.1.5.5.7.3.1");
pub(crate) const PURPOSE_CLIENT_AUTH: ObjectIdentifier = oid("1.3.6.1.5.5.7.3.2");
pub(crate) const PURPOSE_OCSP_SIGNING: ObjectIdentifier = oid("1.3.6.1.5.5.7.3.9");

// OCSP (RFC 6960) and PKCS #10 attributes (RFC 2985).
pub(crate) const OCSP_BASIC: ObjectIdentifier = oid("1.3.6.1.5.5.7.48.1.1");
pub(crate) const OCSP_NONCE: ObjectIdentifier = oid("1.3.6.1.5.5.7.48.1.2");
pub(crate) const OCSP_NO_CHECK: ObjectIdentifier = oid("1.3.6.1.5.5.7.48.1.5");
pub(crate) const EXTENSION_REQUEST: ObjectIdentifier = oid("1.2.840.113549.1.9.14");

// Encryption with passphrases (RFC 8018, RFC 9579, RFC 3565).
pub(crate) const PBKDF2: ObjectIdentifier = oid("1.2.840.113549.1.5.12");
pub(crate) const PBES2: ObjectIdentifier = oid("1.2.840.113549.1.5.13");
pub(crate) const PBMAC1: ObjectIdentifier = oid("1.2.840.113549.1.5.14");
pub(crate) const HMAC_WITH_SHA1: ObjectIdentifier = oid("1.2.840.113549.2.7");
pub(crate) const HMAC_WITH_SHA256: ObjectIdentifier = oid("1.2.840.113549.2.9");
pub(crate) const HMAC_WITH_SHA384: ObjectIdentifier = oid("1.2.840.113549.2.10");
pub(crate) const HMAC_WITH_SHA512: ObjectIdentifier = oid("1.2.840.113549.2.11");
pub(crate) const AES128_CBC: ObjectIdentifier = oid("2.16.840.1.101.3.4.1.2");
pub(crate) const AES192_CBC: ObjectIdentifier = oid("2.16.840.1.101.3.4.1.22");
pub(crate) const AES256_CBC: ObjectIdentifier = oid("2.16.840.1.101.3.4.1.42");

// PKCS #12 and what it is made of (RFC 7292, RFC 5652, RFC 2985).
pub(crate) const DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.1");
pub(crate) const ENCRYPTED_DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.6");
pub(crate) const X509_CERTIFICATE: ObjectIdentifier = oid("1.2.840.113549.1.9.22.1");
pub(crate) const KEY_BAG: ObjectIdentifier = oid("1.2.840.113549.1.12.10.1.1");
pub(crate) const SHROUDED_KEY_BAG: ObjectIdentifier = oid("1.2.840.113549.1.12.10.1.2");
pub(crate) const CERTIFICATE_BAG: ObjectIdentifier = oid("1.2.840.113549.1.12.10.1.3");

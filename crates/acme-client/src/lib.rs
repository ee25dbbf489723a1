//! Speaks to ACME directories (RFC 8555, RFC 9773).

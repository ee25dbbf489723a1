//! The TLS edge: ends TLS for the domains of services, by SNI, and forwards to their instances.

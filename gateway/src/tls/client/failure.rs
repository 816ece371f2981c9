//! What a failed handshake is called in logs: the words that Envoy takes from its TLS library, so
//! that what people search for finds the same explanations.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// Why a handshake with an upstream failed: `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TlsFailure(pub(crate) &'static str);

/// Writes an error as Envoy logs BoringSSL's, blanks as underscores.
macro_rules! words {
    ($code:literal $what:literal) => {
        TlsFailure(concat!(
            "TLS_error:|",
            $code,
            ":SSL_routines:OPENSSL_internal:",
            $what,
            ":TLS_error_end"
        ))
    };
}

/// As [`words`], about a certificate that is not believed.
macro_rules! unverified {
    (X509 $why:literal) => {
        unverified!(
            "X509_verify_cert:_certificate_verification_error_at_depth_0:_",
            $why
        )
    };
    ($($why:literal),*) => {
        TlsFailure(concat!(
            "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:",
            "verify_cert_failed:_",
            $($why,)*
            ":TLS_error_end"
        ))
    };
}

impl TlsFailure {
    /// The request's host cannot be a server name.
    pub(crate) const NO_NAME: Self = Self("TLS_error:_the_host_is_no_server_name");
    /// The settings, the certificate or the authorities cannot be used.
    pub(crate) const NO_SECRET: Self = Self("TLS_error:_Secret_is_not_supplied_by_SDS");

    /// What rustls' error is called.
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::NoCertificatesPresented => words!(268435581 "CERTIFICATE_VERIFY_FAILED"),
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            // What came first is no record: the peer speaks something else.
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            ) => words!(268435703 "WRONG_VERSION_NUMBER"),
            Error::PeerIncompatible(_) => words!(268435696 "UNSUPPORTED_PROTOCOL"),
            Error::NoApplicationProtocol => words!(268435604 "INVALID_ALPN_PROTOCOL"),
            _ => words!(268435650 "UNEXPECTED_MESSAGE"),
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                unverified!("SAN_matcher")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                unverified!(X509 "certificate_has_expired")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                unverified!(X509 "certificate_is_not_yet_valid")
            }
            CertificateError::Revoked => unverified!(X509 "certificate_revoked"),
            CertificateError::UnknownIssuer => {
                unverified!(X509 "unable_to_get_local_issuer_certificate")
            }
            _ => words!(268435581 "CERTIFICATE_VERIFY_FAILED"),
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::HandshakeFailure => {
                words!(268436496 "SSLV3_ALERT_HANDSHAKE_FAILURE")
            }
            AlertDescription::BadCertificate => words!(268436498 "SSLV3_ALERT_BAD_CERTIFICATE"),
            AlertDescription::CertificateRevoked => {
                words!(268436500 "SSLV3_ALERT_CERTIFICATE_REVOKED")
            }
            AlertDescription::CertificateExpired => {
                words!(268436501 "SSLV3_ALERT_CERTIFICATE_EXPIRED")
            }
            AlertDescription::CertificateUnknown => {
                words!(268436502 "SSLV3_ALERT_CERTIFICATE_UNKNOWN")
            }
            AlertDescription::UnknownCA => words!(268436504 "TLSV1_ALERT_UNKNOWN_CA"),
            AlertDescription::ProtocolVersion => words!(268436526 "TLSV1_ALERT_PROTOCOL_VERSION"),
            AlertDescription::UnrecognisedName => {
                words!(268436568 "TLSV1_ALERT_UNRECOGNIZED_NAME")
            }
            AlertDescription::CertificateRequired => {
                words!(268436572 "TLSV1_ALERT_CERTIFICATE_REQUIRED")
            }
            AlertDescription::NoApplicationProtocol => {
                words!(268436576 "TLSV1_ALERT_NO_APPLICATION_PROTOCOL")
            }
            _ => words!(268436536 "TLSV1_ALERT"),
        }
    }
}

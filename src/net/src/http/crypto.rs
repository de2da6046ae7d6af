//! Which cryptography TLS uses: ring, the only one in the binary. Two of them would end in a panic at run time.

/// Makes ring the process's TLS cryptography. May be called any number of times, from anywhere, before any client is made.
pub fn install_crypto() {
    // an error only says that somebody was here before
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installing_twice_is_fine() {
        install_crypto();
        install_crypto();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}

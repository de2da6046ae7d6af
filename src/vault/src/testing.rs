//! What the crate's tests share: throw-away keys and folders. Nothing here is ever used outside tests.

/// A key pair made for these tests alone; it opens nothing.
pub(crate) const SSH_PRIVATE: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACAl71N3bdY5cUsEHgS56+Lnz6C8OrH2lojjpPHo8bjFkAAAAJB6Cdxxegnc
cQAAAAtzc2gtZWQyNTUxOQAAACAl71N3bdY5cUsEHgS56+Lnz6C8OrH2lojjpPHo8bjFkA
AAAECtcpLf2E3W79/CdxcKxQx1Z8J50SnbHbRj4zyQ17WZYSXvU3dt1jlxSwQeBLnr4ufP
oLw6sfaWiOOk8ejxuMWQAAAACXRlc3RAY2xhdwECAwQ=
-----END OPENSSH PRIVATE KEY-----
";
pub(crate) const SSH_PUBLIC: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICXvU3dt1jlxSwQeBLnr4ufPoLw6sfaWiOOk8ejxuMWQ";
/// Another one, under the passphrase "pw".
pub(crate) const SSH_ENCRYPTED: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABBapk0l8V
n6CeBPqIlFl66MAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAICQ33jvzqEVKHb0K
Rpe59cqzNMeJtF0kbJx546xr/3c+AAAAkNvacu/YtvLyy4Zx8v1lcPz83CaQYQ0FNNI6Ne
uCk3EZ6xSpRvDq9OS1bb7/NONPrgnVqWFFItvd4tVccB3NCeNmZKQ1t2JIjEgS4oKY0+aG
drz7ZzPT26K2fxlrdrwKtwmQYku6o/j5BjcCP0EC/rsjJDIlKZSKY/H9LneuNSjJobxsty
0FOtLH5PdgTMWpAA==
-----END OPENSSH PRIVATE KEY-----
";
pub(crate) const SSH_ENCRYPTED_PUBLIC: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICQ33jvzqEVKHb0KRpe59cqzNMeJtF0kbJx546xr/3c+";
pub(crate) const SSH_RSA_PUBLIC: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDaMhWIXBbk5mTL4nTPZmMx/FL4FP/7btbXmKEju2wa6Kgo+cXnTQXCa7oetA8JJQMWwEKq0ihNISyDVNsBmG+jDV2idt+sI6Eb9zuqb+AohrN+8gEEQm0UTVv7Ue8BqryVDuDpO7QNp6vxjKCKoHzfHdvAv5Dtwadrv8WW0rXVLFoJ3efWaJKw1yQ2g5FSxO4HLmMDVI3aTpjLa8DU7F9/XAv+ThlEFmhz+vg1HpSoQFFjbBKWRLec8SRi1gAV2SW1oPq37h5ZFwRrjap6SdIYnRMEj1+ys+q+9r7mBo0X+Qp+t5VKhcF0nDN69UGD5I1xaup/Mn6wMg29GDe0PuQJ";

/// Returns a new identity.
pub(crate) fn identity() -> crate::Identities {
    crate::Identity::generate("2026-11-21").0.into()
}

/// The date on which everything in the tests happens.
pub(crate) const TODAY: &str = "2026-11-21";
/// What no output may ever hold.
pub(crate) const CANARY: &str = "canary-4f8a1c";

/// A secrets folder with a fleet key, and someone who can open it.
pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) member: crate::Identities,
}

impl Fixture {
    /// Makes the folder, its fleet key and two values: default/A and default/B.
    pub(crate) fn new() -> Self {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let fixture = Self { folder, member: identity() };
        let vault = fixture.vault();
        vault.init(&fixture.to(), TODAY).expect("init");
        fixture.set("default", "A", CANARY);
        fixture.set("default", "B", "another value");
        fixture
    }

    /// Opens the folder anew, as its member.
    pub(crate) fn vault(&self) -> crate::Vault {
        self.vault_as(Some(self.member.clone()))
    }

    pub(crate) fn vault_as(&self, who: Option<crate::Identities>) -> crate::Vault {
        crate::Vault::open(self.folder.path(), "k7f3q2", who, &claw_core::mask::Known::default()).expect("open")
    }

    /// The member, as the only recipient.
    pub(crate) fn to(&self) -> Vec<crate::Recipient> {
        self.member.recipients()
    }

    pub(crate) fn set(&self, profile: &str, key: &str, value: &str) -> crate::Entry {
        let value = secrecy::SecretString::from(value);
        self.vault().set(profile, key, &value, &self.to(), None, TODAY).expect("set")
    }

    pub(crate) fn path(&self, profile: &str) -> std::path::PathBuf {
        self.folder.path().join(format!("{profile}.toml"))
    }

    pub(crate) fn text(&self, profile: &str) -> String {
        std::fs::read_to_string(self.path(profile)).expect("the profile's file")
    }

    pub(crate) fn put(&self, profile: &str, text: &str) {
        std::fs::write(self.path(profile), text).expect("the profile's file");
    }
}

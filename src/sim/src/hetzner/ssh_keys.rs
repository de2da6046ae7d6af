//! SSH keys: told apart by name and by fingerprint.

use data_encoding::BASE64;
use serde_json::{Value as Json, json};

use super::answer::Reply;
use super::body::{Reference, Request, need};
use super::list::{Listed, Value};
use super::refusal::Refusal;
use super::selector::Labels;
use super::servers::by_path;
use super::state::SshKey;
use super::{Cloud, timestamp};

impl Cloud {
    pub(super) fn ssh_keys_route(&mut self, request: &Request, rest: &[&str]) -> Result<Reply, Refusal> {
        match (request.method.as_str(), rest) {
            ("GET", []) => self.list(request, "ssh_keys", self.ssh_keys.values()),
            ("POST", []) => self.create_ssh_key(request),
            ("GET", [id]) => Ok(self.show_ssh_key(200, by_path(&self.ssh_keys, "SSH key", id)?.id)),
            ("PUT", [id]) => self.update_ssh_key(id, request),
            ("DELETE", [id]) => {
                let id = by_path(&self.ssh_keys, "SSH key", id)?.id;
                self.ssh_keys.remove(&id);
                Ok(Reply::nothing())
            }
            _ => Err(Refusal::unsupported("this")),
        }
    }

    fn show_ssh_key(&self, status: u16, id: u64) -> Reply {
        Reply::new(status, json!({ "ssh_key": self.ssh_keys.get(&id).map(|key| key.render(self)) }))
    }

    fn create_ssh_key(&mut self, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let name = need(fields.text("name")?, "name")?.to_owned();
        self.check_key_name(&name, None)?;
        let public_key = need(fields.text("public_key")?, "public_key")?.trim().to_owned();
        let labels = fields.labels()?.unwrap_or_default();
        let invalid = || Refusal::invalid("public_key", "not a public key");
        let fingerprint = fingerprint(&public_key).ok_or_else(invalid)?;
        if self.ssh_keys.values().any(|key| key.fingerprint == fingerprint) {
            return Err(Refusal::taken("public_key", "SSH key with the same fingerprint already exists"));
        }
        let id = self.next_id();
        self.ssh_keys.insert(id, SshKey { id, name, labels, created_ms: self.now_ms, public_key, fingerprint });
        Ok(self.show_ssh_key(201, id))
    }

    fn update_ssh_key(&mut self, id: &str, request: &Request) -> Result<Reply, Refusal> {
        let id = by_path(&self.ssh_keys, "SSH key", id)?.id;
        let fields = request.fields()?;
        let labels = fields.labels()?;
        let name = fields.text("name")?.map(str::to_owned);
        if let Some(name) = &name {
            self.check_key_name(name, Some(id))?;
        }
        if let Some(key) = self.ssh_keys.get_mut(&id) {
            key.name = name.unwrap_or_else(|| key.name.clone());
            key.labels = labels.unwrap_or_else(|| key.labels.clone());
        }
        Ok(self.show_ssh_key(200, id))
    }

    fn check_key_name(&self, name: &str, own: Option<u64>) -> Result<(), Refusal> {
        if name.trim().is_empty() {
            return Err(Refusal::invalid("name", "must not be empty"));
        }
        let taken = self.ssh_keys.values().any(|key| key.name == name && Some(key.id) != own);
        if taken { Err(Refusal::taken("name", "SSH key name is already used")) } else { Ok(()) }
    }

    /// Returns the public keys that a body points at.
    pub(super) fn public_keys(&self, wanted: &[Reference]) -> Result<Vec<String>, Refusal> {
        let one = |wanted: &Reference| {
            let by_id = wanted.id().and_then(|id| self.ssh_keys.get(&id));
            let found = by_id.or_else(|| self.ssh_keys.values().find(|key| key.name == wanted.0));
            found.map(|key| key.public_key.clone()).ok_or_else(|| Refusal::not_found("SSH key", &wanted.0))
        };
        wanted.iter().map(one).collect()
    }
}

impl Listed for SshKey {
    const SORTS: &'static [&'static str] = &["id", "name"];
    const FILTERS: &'static [&'static str] = &["name", "fingerprint"];

    fn value(&self, _cloud: &Cloud, field: &str) -> Value {
        match field {
            "name" => Value::Text(self.name.clone()),
            "fingerprint" => Value::Text(self.fingerprint.clone()),
            _ => Value::Number(self.id),
        }
    }

    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }

    fn render(&self, _cloud: &Cloud) -> Json {
        json!({
            "id": self.id, "name": self.name, "fingerprint": self.fingerprint, "public_key": self.public_key,
            "labels": self.labels, "created": timestamp(self.created_ms),
        })
    }
}

/// Returns the MD5 of a public key's blob with colons, or nothing if it is not a public key in OpenSSH's form.
fn fingerprint(public_key: &str) -> Option<String> {
    let mut words = public_key.split_whitespace();
    let kind = words.next()?;
    let known =
        ["ssh-ed25519", "ssh-rsa", "ssh-dss", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"];
    if !known.contains(&kind) && !kind.starts_with("ecdsa-sha2-nistp") {
        return None;
    }
    let blob = BASE64.decode(words.next()?.as_bytes()).ok()?;
    let (length, rest) = blob.split_at_checked(4)?;
    let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
    if rest.get(..length)? != kind.as_bytes() || rest.len() == length {
        return None;
    }
    Some(md5::compute(&blob).0.map(|byte| format!("{byte:02x}")).join(":"))
}
